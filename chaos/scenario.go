package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Scenario is one thing to see through: what is loaded, what breaks, and what must come about.
type Scenario struct {
	// Number is that of the plan of tests that it stands for; 0: it was asked for beside it.
	Number int
	Name   string
	Title  string
	// Faults are drawn from; each comes once before any comes twice.
	Faults []string
	// Replicas is how many routers there are; 0: defaultReplicas.
	Replicas int
	// Rate is how many orders are placed a second; 0: defaultRate.
	Rate float64
	// Lasts is how long there is load; 0: defaultLasts.
	Lasts time.Duration
	// Env are settings of all routers, EnvOfSecond of every second one besides.
	Env, EnvOfSecond []string
	// HotStock is how many pieces there are of an article that most orders want; 0: there is none such.
	HotStock int
	// SmallDisk puts the database on a small disk, which takes root.
	SmallDisk bool
	// FakeClock gives the database a clock that can be moved.
	FakeClock bool
	// Overlap lets a fault begin while another one lasts.
	Overlap bool
	// Brief bounds how long a fault lasts, and the time until the next one; 0: nothing else bounds them.
	Brief time.Duration
	// Once has each fault come once at most.
	Once bool
	// AtRest has the faults come when everything that was placed has ended.
	AtRest bool
	// Patient: no order may be cancelled at a deadline that nothing but an outage of ours delays.
	Patient bool
	// Expected says in words what must come about where it is not that nothing is wrong.
	Expected string
	// Elsewhere says where it is shown, or why it cannot be done here, of a scenario that is not run.
	Elsewhere string

	// expect tells what is wrong with a run's verdict; nil: it must be good.
	expect func(*Result) []string
	// finish is done when all is healed and nothing is placed any more, before the system must come to rest.
	finish func(context.Context, *system, func(string, ...any)) error
	// dropsLetters: finish drops letters, so that orders may stay open for their sake.
	dropsLetters bool
}

const (
	defaultReplicas = 2
	// defaultRate leaves two cores, which all processes of a run share, room to recover.
	defaultRate  = 20
	defaultLasts = 30 * time.Second
)

func (s Scenario) withDefaults() Scenario {
	if s.Replicas == 0 {
		s.Replicas = defaultReplicas
	}
	if s.Rate == 0 {
		s.Rate = defaultRate
	}
	if s.Lasts == 0 {
		s.Lasts = defaultLasts
	}
	return s
}

// Runs tells whether it can be run, and else why not.
func (s Scenario) Runs(kafka Kafka) (why string, ok bool) {
	if s.Elsewhere != "" {
		return s.Elsewhere, false
	}
	for _, name := range s.Faults {
		f, err := faultNamed(name)
		if err != nil {
			return err.Error(), false
		}
		if f.Unfit == nil {
			return "", true
		}
		if why = f.Unfit(kafka, s); why == "" {
			return "", true
		}
	}
	return why, len(s.Faults) == 0
}

// Scenarios lists all there are, in the order of their numbers.
func Scenarios() []Scenario { return slices.Clone(scenarios) }

// Named finds a scenario by its name.
func Named(name string) (Scenario, error) {
	i := slices.IndexFunc(scenarios, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return Scenario{}, fmt.Errorf("there is no scenario %q; --list shows all", name)
	}
	return scenarios[i].withDefaults(), nil
}
