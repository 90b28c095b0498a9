package chaos

import (
	"context"
	"time"

	"millrace/chaos/wire"
)

// The weather on a line. A reset comes after some answers of a claim or a fetch, a piece is smaller than most packets.
var weathers = []struct {
	name, what        string
	weather           wire.Weather
	shortest, longest time.Duration
}{
	{"cut", "is cut: every connection ends, none is made", wire.Weather{Cut: true}, time.Second, 5 * time.Second},
	{"slow", "is long: each packet takes 30 to 80 ms more", wire.Weather{Delay: 30 * time.Millisecond, Jitter: 50 * time.Millisecond}, 2 * time.Second, 6 * time.Second},
	{"silent", "swallows everything and tells nobody; what somebody still waits for arrives later", wire.Weather{Silent: true}, 2 * time.Second, 9 * time.Second},
	{"reset", "resets connections in the middle of what they say", wire.Weather{ResetAfter: 64 << 10}, 2 * time.Second, 6 * time.Second},
	{"crumbly", "lets through a few bytes at a time", wire.Weather{Piece: 100, Jitter: 200 * time.Microsecond}, 2 * time.Second, 6 * time.Second},
}

var lineFaults = makeLineFaults()

func makeLineFaults() (list []Fault) {
	for _, w := range weathers {
		list = append(list,
			Fault{Name: "postgres-line-" + w.name, Hides: true, What: "a router's line to Postgres " + w.what, Heals: "fine weather", On: []string{onPostgresLine},
				Shortest: w.shortest, Longest: w.longest,
				inject: func(_ context.Context, i *injection) (heal, error) {
					return i.under(w.weather, &i.replica.proxy.Proxy), nil
				}},
			Fault{Name: "kafka-line-" + w.name, Hides: true, What: "everybody's line to the broker " + w.what, Heals: "fine weather", On: []string{onKafkaLine},
				Shortest: w.shortest, Longest: w.longest,
				inject: func(_ context.Context, i *injection) (heal, error) {
					return i.under(w.weather, &i.broker.proxy.Proxy), nil
				}})
	}
	return list
}

// feltPatience is how much longer than planned bad weather lasts where nothing has met it yet: after a fault before it, a line may be
// quiet for a while, and a reset takes what is said in seconds to come about.
const feltPatience = 10 * time.Second

func (i *injection) under(w wire.Weather, p *wire.Proxy) heal {
	w.Seed = i.random.Uint64()
	before := p.Hits()
	p.SetWeather(w)
	return func(ctx context.Context) (int64, error) {
		const look = 20 * time.Millisecond
		for late := time.Now().Add(feltPatience); p.Hits() == before && time.Now().Before(late) && sleep(ctx, look); {
		}
		p.SetWeather(wire.Weather{})
		return p.Hits() - before, nil
	}
}
