package outbox

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"millrace/event"
)

// Whoever starts goes on where others were: what it was not there to see counts as if it had.
func TestAStartKnowsOfLagsBeforeIt(t *testing.T) {
	began := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
	const week = 7 * 24 * 3600
	down := errors.New("down")
	type step struct {
		at   float64
		err  error
		want float64
	}
	const none = -1
	for name, c := range map[string]struct {
		clear float64 // none: nobody has looked yet
		lags  []span
		start float64
		steps []step
	}{
		"the first of all":                {none, nil, 10, []step{{10, nil, none}, {14, nil, none}, {15, nil, 15}}},
		"others looked meanwhile":         {5, nil, 10, []step{{10, nil, none}, {15, nil, 15}}},
		"a lag that is over":              {38, []span{{at(10), at(30)}}, 40, []step{{40, nil, none}, {45, nil, 25}, {89, nil, 69}, {90, nil, 90}}},
		"two of them":                     {58, []span{{at(10), at(30)}, {at(40), at(50)}}, 60, []step{{65, nil, 35}, {99, nil, 69}, {100, nil, 90}, {110, nil, 110}}},
		"one that nobody needs any more":  {98, []span{{at(10), at(30)}}, 100, []step{{105, nil, 105}}},
		"in the middle of a lag":          {10, nil, 20, []step{{20, down, none}, {30, nil, none}, {35, nil, 15}, {89, nil, 69}, {90, nil, 90}}},
		"in its first seconds":            {10, nil, 12, []step{{12, down, none}, {30, nil, none}, {35, nil, 15}, {90, nil, 90}}},
		"after one that nobody saw end":   {10, nil, 30, []step{{30, nil, none}, {34, nil, none}, {35, nil, 15}, {89, nil, 69}, {90, nil, 90}}},
		"another one before it":           {40, []span{{at(10), at(30)}}, 50, []step{{50, nil, none}, {55, nil, 25}, {99, nil, 69}, {100, nil, 90}, {110, nil, 110}}},
		"a dump that was restored":        {0, nil, week, []step{{week, nil, none}, {week + 5, nil, 5}, {week + 59, nil, 59}, {week + 60, nil, week + 60}}},
		"a clock that was set back since": {10, []span{{at(5), at(10)}}, 9, []step{{9, nil, none}, {14, nil, 10}, {68, nil, 64}, {69, nil, 69}}},
	} {
		t.Run(name, func(t *testing.T) {
			h := horizon{grace: lagGrace, longest: time.Minute}
			clear := time.Time{}
			if c.clear != none {
				clear = at(c.clear)
			}
			h.recall(at(c.start), clear, c.lags)
			look := c.start
			for i, s := range c.steps {
				for err := s.err; look < s.at; look++ { // somebody looks once a second, and sees what was seen before
					if i > 0 {
						err = c.steps[i-1].err
					}
					h.note(at(look), time.Time{}, err)
				}
				h.note(at(s.at), time.Time{}, s.err)
				look = s.at + 1
				want := time.Time{}
				if s.want != none {
					want = at(s.want)
				}
				if got := h.get(); !got.Equal(want) {
					t.Fatalf("at %v: horizon %v, want %v", s.at, got.Sub(began), want.Sub(began))
				}
			}
		})
	}
}

// A time that the clock takes back was not lost, however long it was.
func TestAClockSetBackTakesItsLagsWithIt(t *testing.T) {
	began := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	const years = 10 * 365 * 24 * time.Hour
	h := horizon{grace: lagGrace, longest: time.Minute}
	h.recall(began, time.Time{}, nil)
	look := func(at time.Duration) time.Time {
		h.note(began.Add(at), time.Time{}, nil)
		return h.get()
	}
	for second := range 10 {
		look(time.Duration(second) * time.Second)
	}
	if got := look(years); !got.Equal(began.Add(9 * time.Second)) {
		t.Fatalf("the clock jumped: horizon %v, want the last one before it", got)
	}
	var got time.Time
	for second := 11; second <= 80; second++ {
		got = look(time.Duration(second) * time.Second)
	}
	if want := began.Add(80 * time.Second); !got.Equal(want) {
		t.Errorf("the clock jumped back: horizon %v, want %v", got, want)
	}
	if _, lags := h.news(); len(lags) != 1 || lags[0].to.After(began.Add(11*time.Second)) {
		t.Errorf("lags to write down: %v, want one that ends when the clock was set back", lags)
	}
}

func TestALagIsNewsUntilItIsWrittenDown(t *testing.T) {
	began := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	h := horizon{grace: lagGrace, longest: time.Minute}
	h.recall(began, time.Time{}, nil)
	expect := func(second int, err error, clear int, lags ...span) {
		t.Helper()
		h.note(at(second), time.Time{}, err)
		got, list := h.news()
		want := time.Time{}
		if clear > 0 {
			want = at(clear)
		}
		if !got.Equal(want) || len(list) != len(lags) {
			t.Fatalf("second %d: news %v %v, want %v %v", second, got, list, want, lags)
		}
		for i := range lags {
			if !list[i].from.Equal(lags[i].from) || !list[i].to.Equal(lags[i].to) {
				t.Fatalf("second %d: news of %v, want %v", second, list, lags)
			}
		}
	}
	expect(1, nil, 1)
	h.told(at(1))
	expect(2, nil, 0)
	expect(5, nil, 0)
	expect(6, nil, 6)
	h.told(at(6))
	expect(7, nil, 0)
	h.note(at(8), time.Time{}, errors.New("down"))
	lag := span{at(7), at(9)}
	expect(9, nil, 9, lag)
	expect(10, nil, 10, lag) // it could not be written
	h.note(at(11), time.Time{}, errors.New("down"))
	expect(12, nil, 12, lag, span{at(10), at(12)})
	h.told(at(12))
	expect(13, nil, 0)
	expect(3, nil, 3) // the clock was set back
}

func TestTheTableOfLagsIsTheirUnion(t *testing.T) {
	db := migrated(t)
	table := lagTable{service: "basket", longest: 256 * time.Minute, stmts: &statements{db: db}}
	var now time.Time
	need(t, db.QueryRow("SELECT date_trunc('minute', now())").Scan(&now))
	ago := func(minutes float64) time.Time { return now.Add(-time.Duration(minutes * float64(time.Minute))) }
	lag := func(from, to float64) span { return span{ago(from), ago(to)} }
	expect := func(clear time.Time, want ...span) {
		t.Helper()
		got, lags, err := table.read(t.Context())
		need(t, err)
		if !got.Equal(clear) || len(lags) != len(want) {
			t.Fatalf("read %v %v, want %v %v", got, lags, clear, want)
		}
		for i := range want {
			if !lags[i].from.Equal(want[i].from) || !lags[i].to.Equal(want[i].to) {
				t.Fatalf("read %v, want %v", lags, want)
			}
		}
	}
	expect(time.Time{})
	write := func(clear time.Time, lags ...span) {
		t.Helper()
		need(t, table.write(t.Context(), clear, lags))
	}
	write(ago(100))
	expect(ago(100))
	write(ago(80), lag(90, 80))
	write(ago(81), lag(92, 81)) // another one saw the same
	expect(ago(80), lag(92, 80))
	write(ago(60), lag(70, 60))
	write(ago(60), lag(70, 60)) // the answer was lost
	expect(ago(60), lag(92, 80), lag(70, 60))
	// Those that end in the same minute become one of their length.
	write(ago(40.1), lag(41, 40.8), lag(40.5, 40.3), lag(40.2, 40.1))
	expect(ago(40.1), lag(92, 80), lag(70, 60), lag(40.6, 40.1))
	// What is over for the longest deadline and the lags since then goes: 12 + 10 + 0.5 minutes.
	write(ago(30), lag(900, 600), lag(310, 280))
	expect(ago(30), lag(92, 80), lag(70, 60), lag(40.6, 40.1))
	write(ago(30), lag(310, 277))
	expect(ago(30), lag(310, 277), lag(92, 80), lag(70, 60), lag(40.6, 40.1))
	// A time that is yet to come was not lost.
	write(ago(-60), lag(5, -60))
	clear, lags, err := table.read(t.Context())
	need(t, err)
	if last := lags[len(lags)-1]; clear.After(time.Now().Add(time.Minute)) || last.to.After(time.Now().Add(time.Minute)) || !last.from.Equal(ago(5)) {
		t.Errorf("read %v %v: from a time that is yet to come", clear, last)
	}
	var ahead bool
	need(t, db.QueryRow("SELECT upper(lags) > now() FROM millrace.lags").Scan(&ahead))
	if ahead {
		t.Error("a lag is kept that ends in a time that is yet to come")
	}
	write(ago(2))
	var kept time.Time
	need(t, db.QueryRow("SELECT clear_at FROM millrace.lags").Scan(&kept))
	if !kept.Equal(ago(2)) {
		t.Errorf("the last look is at %v after the clock was set back, want %v", kept, ago(2))
	}
}

// late is a lag that tests switch on and off.
type late struct {
	is   atomic.Bool
	seen atomic.Int64
}

func (l *late) look(context.Context) (time.Time, error) {
	if l.is.Load() {
		l.seen.Add(1)
		return time.Time{}, errors.New("no broker")
	}
	return time.Time{}, nil
}

// timed is an executor that notes when a deadline fired.
func (f *effects) timed(l *late, fired *atomic.Pointer[time.Time]) *Executor[basket] {
	e := f.executor(func(ctx context.Context, b basket, step string, attempt int) (func(*basket) ([]event.Event, error), error) {
		now := time.Now()
		fired.CompareAndSwap(nil, &now)
		return f.answer(ctx, b, step, attempt)
	}, ExecutorOptions[basket]{Lag: l.look, Longest: time.Hour})
	e.lagEvery, e.horizon.grace = 20*time.Millisecond, 50*time.Millisecond
	return e
}

func (f *effects) lagsKept(t *testing.T) (lags int) {
	t.Helper()
	need(t, f.db.QueryRow(`SELECT count(*) FROM millrace.lags, unnest(lags) WHERE service = 'basket'`).Scan(&lags))
	return lags
}

func (f *effects) looked(t *testing.T) (is bool) {
	t.Helper()
	need(t, f.db.QueryRow(`SELECT EXISTS (SELECT FROM millrace.lags WHERE service = 'basket')`).Scan(&is))
	return is
}

// An outage takes a second; the order it met has one and a half. Whoever fires its deadline started in the middle of the outage,
// or after it.
func TestARestartDoesNotTakeAnOrdersTime(t *testing.T) {
	const deadline, outage = 1500 * time.Millisecond, time.Second
	for name, restart := range map[string]func(t *testing.T, f *effects, l *late, stop func(), start func()){
		"in the middle": func(t *testing.T, f *effects, l *late, stop, start func()) {
			stop()
			seen := l.seen.Load()
			start()
			eventually(t, func() bool { return l.seen.Load() > seen })
			l.is.Store(false)
		},
		"after it": func(t *testing.T, f *effects, l *late, stop, start func()) {
			l.is.Store(false)
			eventually(t, func() bool { return f.lagsKept(t) == 1 })
			stop()
			start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newEffects(t)
			var l late
			var fired atomic.Pointer[time.Time]
			stop := runExecutor(t, f.timed(&l, &fired))
			eventually(t, func() bool { return f.looked(t) })
			l.is.Store(true)
			placed := time.Now()
			f.place(t, "deadline@"+deadline.String())
			eventually(t, func() bool { return time.Since(placed) > outage })
			restart(t, f, &l, stop, func() { runExecutor(t, f.timed(&l, &fired)) })
			eventually(t, func() bool { return fired.Load() != nil })
			if got := fired.Load().Sub(placed); got < deadline+outage-maxSkew/2 {
				t.Errorf("the deadline of %v fired after %v, though an outage took %v of it", deadline, got, outage)
			}
		})
	}
}

// All were down, or a dump was restored: nobody saw for an hour whether messages were late.
func TestAnHourInWhichNobodyLookedIsGivenBack(t *testing.T) {
	f := newEffects(t)
	var l late
	var fired atomic.Pointer[time.Time]
	stop := runExecutor(t, f.timed(&l, &fired))
	eventually(t, func() bool { return f.looked(t) })
	stop()
	_, err := f.db.Exec(`UPDATE millrace.lags SET clear_at = clear_at - interval '1 hour'`)
	need(t, err)
	f.place(t, "deadline@1ms")
	e := f.timed(&l, &fired)
	runExecutor(t, e)
	eventually(t, func() bool { return !e.horizon.get().IsZero() })
	behind := e.horizon.get()
	eventually(t, func() bool { return e.horizon.get().After(behind.Add(200 * time.Millisecond)) }) // it has been claimed twice if it may
	if fired.Load() != nil {
		t.Error("a deadline fired that had lost an hour")
	}
	if n := f.lagsKept(t); n != 1 {
		t.Errorf("%d lags were written down, want one for the next to start", n)
	}
}

// Until it is known what was before the start, no deadline fires; everything else does.
func TestNoDeadlineFiresBeforeTheLagsAreKnown(t *testing.T) {
	f := newEffects(t)
	_, err := f.db.Exec(`ALTER TABLE millrace.lags RENAME TO hidden`)
	need(t, err)
	var looks atomic.Int64
	e := f.executor(f.answer, ExecutorOptions[basket]{Longest: time.Hour, Lag: func(context.Context) (time.Time, error) {
		looks.Add(1)
		return time.Time{}, nil
	}})
	e.lagEvery, e.horizon.grace = 20*time.Millisecond, 50*time.Millisecond
	began := time.Now()
	runExecutor(t, e)
	f.place(t, "deadline@1ms")
	f.place(t, "charge")
	eventually(t, func() bool {
		return len(f.attempts()) == 1 && f.waiting(t) == 1 && time.Since(began) > 10*e.horizon.grace
	})
	if looks.Load() > 0 || !e.horizon.get().IsZero() {
		t.Errorf("%d looks, horizon %v, before what others saw was known", looks.Load(), e.horizon.get())
	}
	_, err = f.db.Exec(`ALTER TABLE millrace.hidden RENAME TO lags`)
	need(t, err)
	eventually(t, func() bool { return f.waiting(t) == 0 })
}

// Somebody holds the row: deadlines fire as they should, and what could not be written is, later.
func TestAHeldRowOfLagsHoldsUpNothing(t *testing.T) {
	f := newEffects(t)
	var l late
	var fired atomic.Pointer[time.Time]
	runExecutor(t, f.timed(&l, &fired))
	eventually(t, func() bool { return f.looked(t) })
	tx, err := f.db.Begin()
	need(t, err)
	defer tx.Rollback()
	_, err = tx.Exec(`SELECT FROM millrace.lags FOR UPDATE`)
	need(t, err)
	l.is.Store(true)
	f.place(t, "deadline@1ms")
	eventually(t, func() bool {
		var behind bool
		need(t, f.db.QueryRow(`SELECT now() - since > interval '100 milliseconds' FROM millrace.waits`).Scan(&behind))
		return behind
	})
	l.is.Store(false)
	eventually(t, func() bool { return fired.Load() != nil })
	if n := f.lagsKept(t); n != 0 {
		t.Fatalf("%d lags were written into a row that is held", n)
	}
	need(t, tx.Rollback())
	eventually(t, func() bool { return f.lagsKept(t) == 1 })
}
