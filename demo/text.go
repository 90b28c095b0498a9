package demo

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

const (
	// maxListed is how many problems are printed: a screen. JSON has all.
	maxListed = 20
	// idTail is how much of an id fits on a line. A UUID's end is what differs.
	idTail = 12
	// slowBy is from how many milliseconds on it is told that orders left late: what a timer
	// of a busy machine is off by is no news.
	slowBy = 100
)

// WriteText prints the report for people, 80 characters wide.
func (r *Report) WriteText(w io.Writer) error {
	text := &strings.Builder{}
	r.writeOutcomes(text)
	r.writeLatencies(text)
	r.writeStory(text)
	r.writeMoney(text)
	for _, note := range r.Notes {
		fmt.Fprintln(text, "note:", note)
	}
	r.writeVerdict(text)
	_, err := io.WriteString(w, text.String())
	return err
}

func table(w io.Writer, write func(t *tabwriter.Writer), flags uint) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', flags)
	write(t)
	_ = t.Flush() // a strings.Builder takes everything
}

func (r *Report) writeOutcomes(w io.Writer) {
	fmt.Fprintf(w, "Outcomes of run %s at %s\n\n", r.Run, r.URL)
	table(w, func(t *tabwriter.Writer) {
		fmt.Fprintln(t, "SCENARIO\tORDERS\tSTATUS\tREASON\t")
		for _, o := range r.Outcomes {
			note := o.Note
			if !o.Expected && o.Note == "" {
				note = "UNEXPECTED"
			}
			fmt.Fprintf(t, "%s\t%6d\t%s\t%s\t%s\n", o.Scenario, o.Orders, o.Status, o.Reason, note)
		}
		fmt.Fprintf(t, "all\t%6d\t\t\t\n", r.Arrived)
	}, 0)
	fmt.Fprintf(w, "\n%d orders arrived at %g a second, %d were placed; %s in all\n", r.Arrived, r.Rate, r.Placed,
		duration(r.TookMs).Round(100*time.Millisecond))
	if r.QueuedMs > slowBy {
		fmt.Fprintf(w, "%.1f a second were taken; they left up to %s late, which the POST's latency\nincludes: the router is slower than the rate, or this machine is busy\n",
			r.TakenRate, duration(r.QueuedMs).Round(time.Millisecond))
	}
	for _, why := range slices.Sorted(maps.Keys(r.SentAgain)) {
		fmt.Fprintf(w, "%d requests were sent again under the same key: %s\n", r.SentAgain[why], why)
	}
}

func (r *Report) writeLatencies(w io.Writer) {
	if len(r.Latencies) == 0 {
		return
	}
	fmt.Fprint(w, "\n")
	table(w, func(t *tabwriter.Writer) {
		fmt.Fprintln(t, "LATENCY, ms\tORDERS\tP50\tP95\tP99\tMAX\t")
		for _, l := range r.Latencies {
			fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t\n", l.What, l.Orders, l.P50, l.P95, l.P99, l.Max)
		}
	}, tabwriter.AlignRight)
}

func (r *Report) writeStory(w io.Writer) {
	s := r.Story
	if s == nil || len(s.Events) == 0 {
		return
	}
	began := s.Events[0].At
	fmt.Fprintf(w, "\nOne order's story (%s), in seconds from %s\n", s.Scenario, began.UTC().Format("2006-01-02T15:04:05.000Z"))
	fmt.Fprintf(w, "order %s, correlation id %s\n\n", s.OrderID, tail(s.CorrelationID))
	table(w, func(t *tabwriter.Writer) {
		fmt.Fprintln(t, "SECONDS\tSERVICE\tWHAT\tID\tCAUSED BY")
		for _, e := range s.Events {
			fmt.Fprintf(t, "%7.3f\t%s\t%s\t%s\t%s\n", e.At.Sub(began).Seconds(), e.Service, e.What, tail(e.ID), tail(e.Cause))
		}
	}, 0)
	fmt.Fprint(w, "\n")
	for _, end := range []struct{ what, how string }{{"payment", s.Payment}, {"refund", s.Refund}, {"stock", s.Stock}, {"parcel", s.Parcel}} {
		if end.how != "" {
			fmt.Fprintf(w, "%-8s %s\n", end.what, end.how)
		}
	}
}

// tail is the end of an id.
func tail(id string) string {
	if len(id) <= idTail {
		return id
	}
	return id[len(id)-idTail:]
}

func (r *Report) writeMoney(w io.Writer) {
	m := r.Money
	if m == nil {
		return
	}
	fmt.Fprintf(w, "\nmoney: captured %s - refunded %s, by provider or operator\n  revenue %s of %d paid, not cancelled orders",
		amount(m.Captured, m.Currency), amount(m.Refunded, m.Currency), amount(m.Revenue, m.Currency), m.Paid)
	if m.Held != 0 {
		fmt.Fprintf(w, " + %s held", amount(m.Held, m.Currency))
	}
	fmt.Fprintln(w)
}

func (r *Report) writeVerdict(w io.Writer) {
	switch {
	case r.Interrupted:
		fmt.Fprintf(w, "interrupted: no more orders were placed, and the money is not checked\n")
	case len(r.Problems) == 0:
		fmt.Fprintf(w, "every order is accounted for\n")
	}
	for _, p := range r.Problems[:min(len(r.Problems), maxListed)] {
		fmt.Fprintln(w, "problem:", p)
	}
	if more := len(r.Problems) - maxListed; more > 0 {
		fmt.Fprintf(w, "… and %d more; --output json lists all\n", more)
	}
}

func duration(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
