package load

import "fmt"

// What is ordered. The articles are some of those an empty shop of either side begins with; several,
// so that orders do not all meet at one, and few enough that they do meet.
var articles = []string{"MUG-RED", "MUG-BLUE", "PLATE-SMALL", "PLATE-LARGE", "BOWL-OAK", "TEAPOT-IRON", "KETTLE-STEEL", "APRON-LINEN"}

const unitPrice = 1250 // minor units

// numbered is an order and what it comes to.
type numbered struct {
	body   []byte
	pieces int64
	amount int64
}

// orderNumber is the same order for the same number, at every system: one to two articles, paid at
// once, delivered, its customer told by e-mail at each step.
func orderNumber(n int) numbered {
	first, second := n%len(articles), (n/len(articles)+n+1)%len(articles)
	quantity := int64(1 + n%2)
	o := numbered{pieces: quantity}
	items := fmt.Sprintf(`{"sku":%q,"quantity":%d,"unitPrice":%d}`, articles[first], quantity, unitPrice)
	if n%2 == 0 && second != first {
		items += fmt.Sprintf(`,{"sku":%q,"quantity":1,"unitPrice":%d}`, articles[second], unitPrice)
		o.pieces++
	}
	o.amount = o.pieces * unitPrice
	o.body = fmt.Appendf(nil, `{"customerId":"c-%d","currency":"EUR","paymentMethod":"pm_accepted","items":[%s],`+
		`"shippingAddress":{"name":"Ada Byron","street":"1 Mill Lane","city":"Bath","postalCode":"BA1 1AA","country":"GB"},`+
		`"contact":{"email":"c-%d@example.com"}}`, n, items, n)
	return o
}
