package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// share is one of several things that happen with different likelihood.
type share[T any] struct {
	of     T
	weight int
}

func pick[T any](random *rand.Rand, list []share[T]) T {
	total := 0
	for _, s := range list {
		total += s.weight
	}
	at := random.IntN(total)
	for _, s := range list {
		if at -= s.weight; at < 0 {
			return s.of
		}
	}
	panic("unreachable: the weights add up to the total")
}

// What is ordered: every way a payment and a parcel can go, the usual ones most.
var (
	methods = []share[string]{{"pm_accepted", 55}, {"pm_declined", 8}, {"pm_pending_accepted", 10}, {"pm_pending_declined", 5},
		{"pm_pending_forever", 3}, {"pm_timeout", 8}, {"pm_unavailable", 6}, {"pm_refund_refused", 5}}
	postalCodes = []share[string]{{"BA1 1AA", 76}, {"SHIP-SLOW", 8}, {"SHIP-REFUSED", 6}, {"SHIP-LOST", 5}, {"SHIP-NO-RECALL", 5}}
)

// articles are some of those that an empty shop begins with.
var articles = []string{"MUG-RED", "MUG-BLUE", "PLATE-SMALL", "PLATE-LARGE", "BOWL-OAK", "TEAPOT-IRON", "KETTLE-STEEL", "APRON-LINEN"}

// hotArticle is the one of which there is too little, where a scenario wants that.
const hotArticle = "CHAOS-HOT"

// What customers, operators, providers and carriers do after an order was placed, of a hundred.
const (
	keyed      = 85 // have an idempotency key, and are sent again until there is an answer
	repeated   = 12 // are posted again after they were accepted
	cancelled  = 14
	calledBack = 15 // the provider's callback comes again, and then a wrong one
	reported   = 8  // the carrier's report comes, early, late and twice
	lookedAt   = 50 // of those that an operator may have to resolve are resolved
	hundred    = 100
)

// What is ordered, of a hundred.
const (
	twoArticles = 40
	wanted      = 60 // have the hot article, where there is one
	unknown     = 2  // have an article that nobody sells
	collected   = 10 // are collected in the shop
)

// customers is how many there are, so that each has many orders.
const customers = 50

// mostPieces of an article, and what one costs, in minor units.
const mostPieces, cheapest, dearest = 3, 450, 5450

// currencies: two, so that sums by currency mean something.
var currencies = []share[string]{{"EUR", 3}, {"GBP", 1}}

// The longest times between an order and what follows.
const (
	soon  = time.Second
	later = 4 * time.Second
	late  = 8 * time.Second
)

// follow is something that somebody does some time after an order was accepted.
type follow struct {
	after time.Duration
	what  func(context.Context, *load, *order) error
}

// order is an order as the load knows it.
type order struct {
	number int
	id     string
	key    string // empty: it has none
	// sound: nobody but the system can delay it. It is paid and delivered, if there is stock.
	sound   bool
	body    []byte
	random  *rand.Rand
	follows []follow
}

type item struct {
	SKU       string `json:"sku"`
	Quantity  int    `json:"quantity"`
	UnitPrice int    `json:"unitPrice"`
}

// newOrder is the same order for the same seed and number.
func newOrder(seed uint64, number int, hot bool) *order {
	random := rand.New(rand.NewPCG(seed, uint64(number)))
	o := &order{number: number, random: random}
	chance := func(percent int) bool { return random.IntN(hundred) < percent }
	if chance(keyed) {
		o.key = fmt.Sprintf("chaos-%d", number)
	}
	first := random.IntN(len(articles))
	items := []item{{articles[first], 1 + random.IntN(mostPieces), cheapest + random.IntN(dearest-cheapest)}}
	if chance(twoArticles) {
		items = append(items, item{articles[(first+1+random.IntN(len(articles)-1))%len(articles)], 1, cheapest})
	}
	if hot && chance(wanted) {
		items = append([]item{{hotArticle, 1, dearest}}, items...)
	}
	if chance(unknown) {
		items = append(items, item{"CHAOS-NEVER-THERE", 1, cheapest})
	}
	method, postal := pick(random, methods), pick(random, postalCodes)
	o.sound = method == methods[0].of && postal == postalCodes[0].of
	body := map[string]any{
		"customerId": fmt.Sprintf("c-%d", random.IntN(customers)), "currency": pick(random, currencies), "paymentMethod": method, "items": items,
		"contact": map[string]string{"email": fmt.Sprintf("c-%d@example.com", number), "phone": "+441225000000"},
	}
	if !chance(collected) {
		body["shippingAddress"] = map[string]string{"name": "Ada Byron", "street": "1 Mill Lane", "city": "Bath", "postalCode": postal, "country": "GB"}
	}
	var err error
	if o.body, err = json.Marshal(body); err != nil { // of strings and numbers
		panic(err)
	}
	after := func(longest time.Duration) time.Duration { return time.Duration(random.Int64N(int64(longest))) }
	if o.key != "" && chance(repeated) {
		o.follows = append(o.follows, follow{after(soon), repeat})
	}
	if chance(cancelled) {
		o.follows = append(o.follows, follow{after(later), cancel})
		o.sound = false
	}
	if chance(calledBack) {
		o.follows = append(o.follows, follow{after(later), callBack})
	}
	if chance(reported) {
		o.follows = append(o.follows, follow{after(later), report})
	}
	if (method == "pm_refund_refused" || postal == "SHIP-LOST" || postal == "SHIP-NO-RECALL") && chance(lookedAt) {
		o.follows = append(o.follows, follow{later + after(late-later), resolve})
	}
	return o
}
