package demo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxWeight is the largest weight of a scenario: finer than one in a million nobody mixes.
const maxWeight = 1_000_000

// Mix is how many orders of each scenario there are, by weight. The zero value has none.
type Mix struct{ parts []part }

type part struct {
	scenario *Scenario
	weight   int
}

// DefaultMix has every scenario, most of the ordinary one; the weights are per cent.
func DefaultMix() Mix {
	var m Mix
	for _, s := range scenarios {
		m.parts = append(m.parts, part{s, s.weight})
	}
	return m
}

// ParseMix reads name=weight pairs, separated by commas; a name alone has the weight 1.
func ParseMix(text string) (Mix, error) {
	var m Mix
	for _, field := range strings.Split(text, ",") {
		name, number, weighed := strings.Cut(strings.TrimSpace(field), "=")
		i := slices.IndexFunc(scenarios, func(s *Scenario) bool { return s.Name == name })
		if i < 0 {
			return Mix{}, fmt.Errorf("there is no scenario %q: there are %s", name, strings.Join(names(), ", "))
		}
		if slices.ContainsFunc(m.parts, func(p part) bool { return p.scenario == scenarios[i] }) {
			return Mix{}, fmt.Errorf("scenario %s is named twice", name)
		}
		weight := 1
		if weighed {
			var err error
			if weight, err = strconv.Atoi(number); err != nil || weight < 0 || weight > maxWeight {
				return Mix{}, fmt.Errorf("the weight of %s is %q: it must be a whole number from 0 to %d", name, number, maxWeight)
			}
		}
		m.parts = append(m.parts, part{scenarios[i], weight})
	}
	if m.total() == 0 {
		return Mix{}, fmt.Errorf("all weights in %q are 0", text)
	}
	return m, nil
}

func names() []string {
	all := make([]string, len(scenarios))
	for i, s := range scenarios {
		all[i] = s.Name
	}
	return all
}

// String is what ParseMix reads.
func (m Mix) String() string {
	fields := make([]string, len(m.parts))
	for i, p := range m.parts {
		fields[i] = p.scenario.Name + "=" + strconv.Itoa(p.weight)
	}
	return strings.Join(fields, ",")
}

func (m Mix) total() int {
	sum := 0
	for _, p := range m.parts {
		sum += p.weight
	}
	return sum
}

// turns returns a function that names the next order's scenario: no chance in it, and spread
// evenly (smooth weighted round-robin), so that a run of total() orders has exactly the
// mix that was asked for.
func (m Mix) turns() func() *Scenario {
	total, credit := m.total(), make([]int, len(m.parts))
	return func() *Scenario {
		best := 0
		for i, p := range m.parts {
			credit[i] += p.weight
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= total
		return m.parts[best].scenario
	}
}
