package chaos

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// calm is how long a run goes on before the first fault, so that there is something to break.
	calm = 2 * time.Second
	// shortestGap and longestGap are between the end of a fault and the begin of the next one; in a random run,
	// between two begins.
	shortestGap, longestGap = 500 * time.Millisecond, 3 * time.Second
	// tries is how often another fault is drawn when what the first one breaks is broken already.
	tries = 20
)

// Planned is a fault that is to come.
type Planned struct {
	Fault   string        `json:"fault"`
	At      time.Duration `json:"at"`      // from the start of the load
	Lasts   time.Duration `json:"lasts"`   // until it is healed
	Replica int           `json:"replica"` // whom it meets, where it meets one
	Seed    uint64        `json:"seed"`    // for what else is chosen
}

// plan draws the faults of a run, and says which of the scenario's do not come, and why: the same for the same scenario, seed
// and time.
func plan(s Scenario, seed uint64, lasts time.Duration, kafka Kafka) (list []Planned, notDone []string, err error) {
	name := fnv.New64()
	_, _ = name.Write([]byte(s.Name)) // never fails
	random := rand.New(rand.NewPCG(seed, name.Sum64()))
	between := func(a, b time.Duration) time.Duration {
		return a + time.Duration(random.Int64N(int64(b-a)+1))
	}
	brief := func(d time.Duration) time.Duration {
		if s.Brief > 0 {
			return min(d, s.Brief)
		}
		return d
	}
	var drawn []Fault
	for _, name := range s.Faults {
		f, err := faultNamed(name)
		if err != nil {
			return nil, nil, fmt.Errorf("scenario %s: %w", s.Name, err)
		}
		if f.Unfit != nil {
			if why := f.Unfit(kafka, s); why != "" {
				notDone = append(notDone, f.Name+": "+why)
				continue
			}
		}
		drawn = append(drawn, f)
	}
	if len(drawn) == 0 {
		return nil, notDone, nil
	}
	// Each comes once before any comes twice.
	random.Shuffle(len(drawn), func(i, j int) { drawn[i], drawn[j] = drawn[j], drawn[i] })
	at := calm
	for n := 0; at < lasts; n++ {
		f := drawn[n%len(drawn)]
		if n >= len(drawn) {
			f = drawn[random.IntN(len(drawn))]
		}
		lasting := brief(between(f.Shortest, f.Longest))
		p := Planned{Fault: f.Name, At: at, Lasts: lasting, Replica: random.IntN(max(1, s.Replicas)), Seed: random.Uint64()}
		if s.Overlap {
			if !free(list, p, f) {
				if at += between(0, shortestGap); n > len(drawn)*tries*int(lasts/calm+1) {
					break
				}
				continue
			}
			at += brief(between(shortestGap, longestGap))
		} else {
			at += p.Lasts + brief(between(shortestGap, longestGap))
		}
		list = append(list, p)
		if s.Once && len(list) == len(drawn) {
			break
		}
	}
	if !s.Overlap { // a random run draws from more than it has time for
		for _, f := range drawn {
			if !slices.ContainsFunc(list, func(p Planned) bool { return p.Fault == f.Name }) {
				notDone = append(notDone, fmt.Sprintf("%s: its turn does not come within %s", f.Name, lasts))
			}
		}
	}
	return list, notDone, nil
}

// free tells whether nothing of what a fault breaks is broken while it would last.
func free(list []Planned, p Planned, f Fault) bool {
	for _, other := range list {
		if p.At > other.At+other.Lasts+shortestGap {
			continue
		}
		broken, err := faultNamed(other.Fault)
		if err != nil {
			panic(err) // it was drawn from the table
		}
		if slices.ContainsFunc(f.On, func(on string) bool { return slices.Contains(broken.On, on) }) {
			return false
		}
	}
	return true
}
