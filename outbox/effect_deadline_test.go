package outbox

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestADeadlineWaitsForMessagesOnTheirWay(t *testing.T) {
	f := newEffects(t)
	var lag atomic.Pointer[time.Time]
	var looks atomic.Int64
	minuteAgo := time.Now().Add(-time.Minute)
	lag.Store(&minuteAgo)
	e := f.executor(f.answer, ExecutorOptions[basket]{Lag: func(context.Context) (time.Time, error) {
		if looks.Add(1)%2 == 1 && lag.Load() == &minuteAgo {
			return time.Time{}, errors.New("no broker") // is lag as well
		}
		return *lag.Load(), nil
	}})
	e.lagEvery, e.horizon.grace = 20*time.Millisecond, 50*time.Millisecond
	runExecutor(t, e)
	const orders = 40
	var group sync.WaitGroup
	for range orders {
		group.Go(func() { f.place(t, "deadline@1ms") })
	}
	group.Wait()
	f.place(t, "charge") // is not held up
	eventually(t, func() bool { return f.waiting(t) == orders && len(f.attempts()) == 1 })
	seen := looks.Load()
	eventually(t, func() bool { return looks.Load() >= seen+10 })
	if got := f.attempts(); len(got) != 1 {
		t.Fatalf("%d deadlines fired although there was lag", len(got)-1)
	}
	lag.Store(&time.Time{})
	eventually(t, func() bool { return f.waiting(t) == 0 })
	for _, attempt := range f.attempts() {
		if attempt != 1 {
			t.Fatalf("attempts %v: waiting was counted as an attempt", f.attempts())
		}
	}
}

func TestADeadlineFiresWhileYoungMessagesComeAndGo(t *testing.T) {
	f := newEffects(t)
	e := f.executor(f.answer, ExecutorOptions[basket]{Lag: func(context.Context) (time.Time, error) { return time.Now().Add(-50 * time.Millisecond), nil }})
	e.lagEvery, e.horizon.grace = 50*time.Millisecond, 50*time.Millisecond
	runExecutor(t, e)
	f.place(t, "deadline@1ms")
	eventually(t, func() bool { return f.waiting(t) == 0 })
}

// The broker stamps a message when it arrives. After an outage, what was true long
// before a deadline arrives with a time after it.
func TestTheHorizonPassesADeadlineOnlyWhenAllBeforeItWasHeard(t *testing.T) {
	began := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
	none := time.Time{}
	asleep := at(-1000) // nobody looks until the next step
	type step struct {
		at, oldest time.Time
		err        error
		want       time.Time
	}
	for name, steps := range map[string][]step{
		// Late from 10 to 30: what was there has lost twenty seconds, and has had its sixty at 90.
		"what lost time gets it back": {
			{at(10), none, nil, at(10)},
			{at(10.5), none, errors.New("down"), at(10)},
			{at(30), none, nil, at(10)},
			{at(36), none, nil, at(16)},
			{at(89), none, nil, at(69)},
			{at(90), none, nil, at(90)},
		},
		// Late from 10 to 30 and from 40 to 50: what was there at 10 has had its sixty at 100.
		"twice": {
			{at(10), none, nil, at(10)},
			{at(10.5), none, errors.New("down"), at(10)},
			{at(30), none, nil, at(10)},
			{at(40), none, nil, at(20)},
			{at(40.5), none, errors.New("down"), at(20)},
			{at(50), none, nil, at(20)},
			{at(56), none, nil, at(26)},
			{at(99), none, nil, at(69)},
			{at(100), none, nil, at(90)},
			{at(110), none, nil, at(110)},
		},
		// Nobody knows for how long nobody ran, but by what waited meanwhile.
		"it was late when this began": {
			{at(1), none, errors.New("down"), none},
			{at(10), at(-20), nil, none},
			{at(20), none, nil, none},
			{at(25), none, nil, at(-15)},
			{at(80), none, nil, at(80)},
		},
		// A message is late after two seconds, in which nobody knew.
		"the seconds before it was noticed": {
			{at(10), none, nil, at(10)},
			{at(10.5), at(8.4), nil, at(10)},
			{at(11), none, nil, at(10)},
			{at(16), none, nil, at(13.4)},
		},
		"the process stood still": {
			{at(10), none, nil, at(10)},
			{asleep, none, nil, none},
			{at(60), none, nil, at(10)},
			{at(64), none, nil, at(10)},
			{at(65), none, nil, at(15)},
		},
		"nothing on its way": {
			{at(10), none, nil, at(10)},
			{at(11), none, nil, at(11)},
		},
		"not within the grace after the start": {
			{at(1), none, nil, none},
			{at(5), none, nil, at(5)},
		},
		"an old message, and the grace after it": {
			{at(10), none, nil, at(10)},
			{at(10.5), at(8.4), nil, at(10)},
			{at(15.4), at(8.4), nil, at(10)},
			{at(15.5), none, nil, at(10)},
			{at(20.3), none, nil, at(10)},
			{at(20.4), none, nil, at(13.3)},
		},
		"an unreachable broker": {
			{at(10), none, errors.New("down"), none},
			{at(10.5), none, nil, none},
			{at(14.9), none, nil, none},
			{at(15), none, nil, at(14.5)},
		},
		// At 11 all that is older than 10.9 has reached the broker; at 12 the oldest on its
		// way reached it after 11, so all of that was heard.
		"young messages come and go": {
			{at(10), at(9.9), nil, none},
			{at(11), at(10.9), nil, at(9.9)},
			{at(12), at(11.9), nil, at(10.9)},
		},
		// At 11 the outbox is empty again, and what it held reached the broker just now: it
		// may be older than any deadline, though its time is 10.9.
		"what just left the outbox": {
			{at(10), at(8.5), nil, none},
			{at(11), at(10.9), nil, at(8.5)},
			{at(11.2), at(10.9), nil, at(8.5)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := horizon{grace: lagGrace, longest: time.Minute, lagged: began}
			for i, s := range steps {
				if s.at.Equal(asleep) {
					continue
				}
				// Between two steps somebody looks once a second, and sees what was seen before.
				for i > 0 && !steps[i-1].at.Equal(asleep) {
					next := steps[i-1].at.Add(lagEvery)
					if !next.Before(s.at) {
						break
					}
					steps[i-1].at = next
					h.note(next, steps[i-1].oldest, steps[i-1].err)
				}
				h.note(s.at, s.oldest, s.err)
				if got := h.get(); !got.Equal(s.want) {
					t.Fatalf("step %d: horizon %v, want %v", i, got, s.want)
				}
			}
		})
	}
}
