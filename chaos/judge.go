package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// judge compares what came about with what was expected.
func (r *run) judge(ctx context.Context, v *Verdict) {
	r.result.Verdict = v
	if r.Scenario.expect != nil {
		for _, why := range r.Scenario.expect(r.result) {
			r.wrong("%s", why)
		}
	} else if !v.OK {
		r.wrong("router verify counts %d violations %v, such as %s", v.Violations, v.violated(), v.example())
	}
	for _, why := range leftOver(v, r.Scenario.dropsLetters) {
		r.wrong("%s", why)
	}
	v.shorten()
	if r.Scenario.Patient {
		r.judgeDeadlines(ctx)
	}
	for _, surprise := range r.load.surprises {
		r.wrong("a client was surprised: %s", surprise)
	}
	r.judgeFelt()
	if v.Counts.Orders == 0 {
		r.wrong("no order was placed")
	}
	r.judgeEndings()
	if err := r.system.stopRouters(); err != nil {
		r.wrong("%v", err)
	}
	complaints, err := r.system.complaints()
	if err != nil {
		r.wrong("%v", err)
	}
	for _, c := range complaints {
		r.wrong("%s", c)
	}
	if len(r.result.Why) == 0 {
		r.say("right: %d orders, %d records, %d of them again, %d listed, %d ends of routers by themselves; at rest after %s",
			v.Counts.Orders, v.Counts.Records, v.Counts.Duplicates, v.ListedCount, r.result.Restarts, r.result.Rest.Round(time.Millisecond))
	}
}

// leftOver is what a system at rest may not have: letters that are open, messages behind them, and orders that have not
// ended for another reason than those that DESIGN allows. Where letters were dropped, what was given up stays open.
func leftOver(v *Verdict, dropped bool) (why []string) {
	if n := v.Counts.Letters; n > 0 {
		why = append(why, fmt.Sprintf("%d letters are open", n))
	}
	if n := v.Counts.Parked; n > 0 {
		why = append(why, fmt.Sprintf("%d messages are parked", n))
	}
	for _, l := range v.Listed {
		allowed := slices.ContainsFunc(l.Reasons, func(reason string) bool {
			return l.Status == "NEEDS_ATTENTION" || dropped && strings.HasPrefix(reason, "somebody gave up ")
		})
		if !allowed {
			why = append(why, fmt.Sprintf("order %s is still %s: %s", l.Order, l.Status, strings.Join(l.Reasons, "; ")))
		}
	}
	return why
}

// judgeFelt: a fault that met nothing proves nothing.
func (r *run) judgeFelt() {
	felt := map[string]int64{}
	for _, b := range r.result.Faults {
		felt[b.Fault] += b.Hits
	}
	for name, hits := range felt {
		if hits == 0 {
			r.result.NeverFelt = append(r.result.NeverFelt, name)
		}
	}
	slices.Sort(r.result.NeverFelt)
	for _, name := range r.result.NeverFelt {
		if r.Scenario.Overlap { // another one had left nothing for it to break
			r.say("%s was never felt", name)
		} else {
			r.wrong("%s was never felt", name)
		}
	}
}

// judgeEndings: a router may end by itself where it finds no servers at its start, and not otherwise.
func (r *run) judgeEndings() {
	var alike []alikeEndings
	for _, e := range r.system.endings() {
		at := e.at.Sub(r.began)
		r.result.Restarts++
		if e.code != exitFailed || !explained(e.began.Sub(r.began), at, r.result.Faults) {
			r.wrong("%s ended by itself at %.1fs: %s; no fault explains that", e.router, at.Seconds(), e.why)
		}
		alike = addEnding(alike, e, at)
	}
	for _, a := range alike {
		r.result.Endings = append(r.result.Endings, a.String())
		r.say("%s", a)
	}
}

// alikeEndings are ends of one router for one reason: while it finds no servers, it ends again and again.
type alikeEndings struct {
	router, why string
	times       int
	first, last time.Duration
}

func (a alikeEndings) String() string {
	if a.times == 1 {
		return fmt.Sprintf("%s ended by itself at %.1fs: %s", a.router, a.first.Seconds(), a.why)
	}
	return fmt.Sprintf("%s ended by itself %d times from %.1fs to %.1fs: %s", a.router, a.times, a.first.Seconds(), a.last.Seconds(), a.why)
}

func addEnding(list []alikeEndings, e ending, at time.Duration) []alikeEndings {
	i := slices.IndexFunc(list, func(a alikeEndings) bool { return a.router == e.router && a.why == e.why })
	if i < 0 {
		return append(list, alikeEndings{e.router, e.why, 1, at, at})
	}
	list[i].times++
	list[i].last = at
	return list
}

// explained tells whether a server, or the line to one, was broken while a router ran, and until just before it ended.
func explained(began, ended time.Duration, list []Broken) bool {
	return slices.ContainsFunc(list, func(b Broken) bool {
		f, err := faultNamed(b.Fault)
		return err == nil && f.Hides && b.At <= ended && began <= b.Healed && ended <= b.Healed+fineAfter
	})
}
