package demo

import (
	"fmt"
	"slices"
	"time"

	"millrace/event"
)

// Report is what came of a run. Durations are in milliseconds, money in minor units.
type Report struct {
	Run    string  `json:"run"`
	URL    string  `json:"url"`
	Rate   float64 `json:"rate"`
	Mix    string  `json:"mix"`
	TookMs float64 `json:"tookMs"`
	// Arrived is how many orders were sent: all of them, unless the run was interrupted. Of
	// these, Placed were taken.
	Arrived int `json:"arrived"`
	Placed  int `json:"placed"`
	// TakenRate is how many a second were taken, QueuedMs how late the unluckiest one was sent:
	// too many others were under way, or this machine was busy.
	TakenRate float64 `json:"takenRate"`
	QueuedMs  float64 `json:"queuedMs"`
	// SentAgain counts requests that were sent again under the same key, by why.
	SentAgain map[string]int `json:"sentAgain"`
	// Outcomes add up to Arrived.
	Outcomes  []Outcome `json:"outcomes"`
	Latencies []Latency `json:"latencies"`
	Money     *Money    `json:"money,omitempty"`
	Story     *Story    `json:"story,omitempty"`
	// Accepted are the ids of the orders that were taken.
	Accepted []string `json:"-"`
	// Notes are worth knowing and no failures. Problems are failures: orders that are not
	// accounted for, and what could not be checked.
	Notes       []string `json:"notes"`
	Problems    []string `json:"problems"`
	Interrupted bool     `json:"interrupted"`
}

// Outcome is how many orders of a scenario ended in one way.
type Outcome struct {
	Scenario string `json:"scenario"`
	outcome
	// Note is what else happened to them.
	Note   string `json:"note,omitempty"`
	Orders int    `json:"orders"`
	// Expected: that is how orders of the scenario must end.
	Expected bool `json:"expected"`
}

// The notes of outcomes.
const (
	noteTooLate    = "409 on cancel"
	noteResolved   = "operator resolved"
	noteUnresolved = "left to operator"
	noteNotPlaced  = "not placed"
	noteUnknown    = "not ended yet" // the run was interrupted
	noteLate       = "not ended in time"
	noteTrouble    = "request failed"
)

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// report sums up what the run itself knows. No customer is under way any more.
func (r *run) report(took time.Duration) *Report {
	report := &Report{
		Run: r.id, URL: r.URL, Rate: r.Rate, Mix: r.Mix.String(), TookMs: ms(took), SentAgain: r.client.sentAgain(),
		Outcomes: []Outcome{}, Latencies: []Latency{}, Notes: []string{}, Problems: []string{},
	}
	var answered []time.Duration
	var last time.Time
	for _, o := range r.orders {
		if o.began.IsZero() {
			break // interrupted before
		}
		report.Arrived++
		report.QueuedMs = max(report.QueuedMs, ms(o.began.Sub(o.due)))
		if !o.accepted.IsZero() {
			report.Placed++
			report.Accepted = append(report.Accepted, string(o.id))
			answered = append(answered, o.accepted.Sub(o.due))
			last = latest(last, o.accepted)
		}
		report.count(o)
	}
	if span := last.Sub(r.began).Seconds(); report.Placed > 1 && span > 0 {
		report.TakenRate = float64(report.Placed-1) / span // the first one arrives at once
	}
	report.latency("POST answered, from arrival", answered)
	slices.SortStableFunc(report.Outcomes, func(a, b Outcome) int { return rank(a.Scenario) - rank(b.Scenario) })
	return report
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func rank(scenario string) int { return slices.Index(names(), scenario) }

// count puts an order into its row, and lists it if it should not be there.
func (r *Report) count(o *order) {
	wrong, note := o.verdict()
	row := Outcome{Scenario: o.scenario.Name, outcome: outcome{o.status, o.reason}, Note: note, Expected: wrong == ""}
	if wrong != "" && note != noteUnknown {
		what := "order " + string(o.id)
		if o.id == "" {
			what = "the order with Idempotency-Key " + o.key
		}
		r.problem("%s (%s): %s", what, o.scenario.Name, wrong)
	}
	i := slices.IndexFunc(r.Outcomes, func(other Outcome) bool {
		other.Orders = 0
		return other == row
	})
	if i < 0 {
		i = len(r.Outcomes)
		r.Outcomes = append(r.Outcomes, row)
	}
	r.Outcomes[i].Orders++
}

// verdict says what is wrong with how an order ended, empty where nothing is; and what
// else is to be told of it.
func (o *order) verdict() (wrong, note string) {
	switch {
	case o.refused != "":
		return o.refused, noteNotPlaced
	case o.late:
		return fmt.Sprintf("has not ended in time: it is %s", outcome{o.status, o.reason}), noteLate
	case o.trouble != "":
		return o.trouble, noteTrouble
	case !o.finished:
		return "has not ended yet", noteUnknown
	}
	switch wrong = o.scenario.unexpected(o); {
	case wrong != "":
		wrong = fmt.Sprintf("is %s, and %s", outcome{o.status, o.reason}, wrong)
	case o.resolved:
		note = noteResolved
	case o.notOperator:
		note = noteUnresolved
	case o.cancel != 0 && o.status == event.OrderDelivered:
		note = noteTooLate
	}
	return wrong, note
}

// ended says whether the order is where nothing moves it on but an operator.
func (o *order) ended() bool { return o.id != "" && slices.Contains(endings, o.status) }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
