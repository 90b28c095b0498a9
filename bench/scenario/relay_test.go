package scenario

import "testing"

func TestARelayIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		m                  measured
		rows, left, logged int64
		wrong              bool
	}{
		"all":                              {measured{count: 100, whole: true}, 100, 100, 100, false},
		"stopped early":                    {measured{count: 50}, 100, 50, 50, false},
		"acknowledged, not yet deleted":    {measured{count: 50}, 100, 40, 50, false},
		"a row left and is not in the log": {measured{count: 50}, 100, 51, 50, true},
		"an acknowledged one is missing":   {measured{count: 100, whole: true}, 100, 100, 99, true},
		"a row stayed":                     {measured{count: 100, whole: true}, 100, 99, 100, true},
		"made up":                          {measured{count: 100, whole: true}, 100, 100, 101, true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := checkRelayed(c.m, c.rows, c.left, c.logged); (err != nil) != c.wrong {
				t.Errorf("checkRelayed = %v, want an error: %v", err, c.wrong)
			}
		})
	}
}
