package demo

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestMixIsPlayedExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Mix
		for _, s := range scenarios {
			m.parts = append(m.parts, part{s, rapid.IntRange(0, 20).Draw(t, s.Name)})
		}
		if m.total() == 0 {
			return
		}
		turn, played := m.turns(), map[*Scenario]int{}
		for range 2 * m.total() {
			played[turn()]++
		}
		for _, p := range m.parts {
			if played[p.scenario] != 2*p.weight {
				t.Fatalf("%s was played %d times in two rounds, its weight is %d", p.scenario.Name, played[p.scenario], p.weight)
			}
		}
	})
}

func TestParseMix(t *testing.T) {
	m, err := ParseMix(" accepted=90, declined=10,ship-lost")
	if err != nil || m.String() != "accepted=90,declined=10,ship-lost=1" {
		t.Errorf("got %s, %v", m, err)
	}
	if again, err := ParseMix(DefaultMix().String()); err != nil || again.String() != DefaultMix().String() {
		t.Errorf("the default mix reads itself as %s, %v", again, err)
	}
	if total := DefaultMix().total(); total != 100 {
		t.Errorf("the default weights are per cent, and sum up to %d", total)
	}
	for text, want := range map[string]string{
		"accpeted=1":             `there is no scenario "accpeted": there are accepted, collected, pending-accepted,`,
		"":                       `there is no scenario ""`,
		"accepted=x":             `the weight of accepted is "x": it must be a whole number from 0 to 1000000`,
		"accepted=-1":            `the weight of accepted is "-1"`,
		"accepted=9999999":       `the weight of accepted is "9999999"`,
		"accepted=0":             `all weights in "accepted=0" are 0`,
		"accepted=1,accepted=90": "scenario accepted is named twice",
	} {
		if _, err := ParseMix(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want %q, got %v", text, want, err)
		}
	}
}
