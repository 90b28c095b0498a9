// Package verify proves what can be proved of a running or resting system from its databases and its
// Kafka log alone. It shares no code with what it checks, not the tables' names, not the events' types, not
// the decoding of a record: a mistake there must not be made here a second time.
//
// # Looking at a system that goes on
//
// Nothing is stopped and nothing is locked, so the order of looking makes the checks sound:
//
//  1. The starts of the topics are noted, and then the consumer groups' committed offsets.
//  2. Each database is frozen: one REPEATABLE READ transaction, in which all of its tables are read.
//  3. The ends of the topics are noted.
//  4. Tables and topics are read, the topics up to those ends.
//
// What an offset of step 1 promises to be processed was processed before step 2, so a row that does not
// show it is a fault (I8). What a row of step 2 says that it said was in the outbox then, or had been
// acknowledged by the broker, and so lies before an end of step 3 (I7). What the log has and the rows do not
// count was said after step 2; an event that is more than a minute older than that was not, and nobody ever
// committed it. What is written in one transaction agrees in every snapshot: stock and reservations, marks
// and letters, rows and history, sums and contributions. What is not, the rows of different services, is
// compared for quiet orders only: those of which every event has been processed by everyone, that
// wait for nothing, and of which the log has nothing newer. So it does not matter either that
// several databases are not frozen at the same moment.
//
// # Memory
//
// Facts go to temporary files by the last byte of their order's id (package spill), and come back one
// 256th of the orders at a time; in memory are only sums by article, currency and minute. It takes about
// 5 KB of disk for each order.
package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/verify/spill"
)

// Options say what to look at, and how.
type Options struct {
	// Databases are those the services keep their rows in; at least one.
	Databases []Database
	// Kafka are a client's options: addresses, TLS, login. None: there is no log to read, and what is
	// to be compared with it is not checked.
	Kafka []kgo.Opt
	// AtRest says that nothing is going on any more: then what is on its way is a violation.
	AtRest bool
	// Patience is how long an order may go on before it must have a reason: ORDER_DEADLINE and what it
	// takes to fire. So long, too, a call may be due, an event be unpublished or unheard. 0: DefaultPatience.
	Patience time.Duration
	// OutboxCap is at how many rows of the outbox no more orders are taken; 0: not looked at.
	OutboxCap int
	// Accepted are the ids of orders that clients were told are accepted. They may be none: then what was
	// said of an order speaks for it.
	Accepted []string
	// Dir is for temporary files; empty: the system's directory for them.
	Dir string
	// Examples is how many violations of each invariant are described, and how many orders listed.
	// 0: DefaultExamples. All are counted.
	Examples int
	// Progress, if set, is told now and then how far it has come. It is called by several goroutines.
	Progress func(Progress)
}

const (
	// DefaultPatience is for deadlines of a minute, as the simulated provider has them, and time for lag.
	DefaultPatience = 3 * time.Minute
	// DefaultExamples fill a screen.
	DefaultExamples = 10
)

// Progress is how far a look has come.
type Progress struct {
	// Rows and Records were read so far, Buckets of spill.Count checked.
	Rows, Records int64
	Buckets       int
}

// UsageError is a mistake in the options.
type UsageError struct{ error }

// Unwrap is the mistake itself.
func (e UsageError) Unwrap() error { return e.error }

// Run looks, checks, and reports. The error says why it could not look; what it found wrong is in the report.
func Run(ctx context.Context, opts Options) (*Report, error) {
	if len(opts.Databases) == 0 {
		return nil, UsageError{errors.New("no database to look at")}
	}
	if opts.Patience <= 0 {
		opts.Patience = DefaultPatience
	}
	if opts.Examples <= 0 {
		opts.Examples = DefaultExamples
	}
	buckets, err := spill.New(opts.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = buckets.Close() }() // nothing is kept in them
	began := time.Now()
	v := &run{Options: opts, buckets: buckets, sums: newSums(), findings: newFindings(opts.Examples)}
	if err := v.accept(); err != nil {
		return nil, err
	}
	if err := v.read(ctx); err != nil {
		return nil, fmt.Errorf("it could not be looked at everything: %w", err)
	}
	if err := v.check(ctx); err != nil {
		return nil, err
	}
	return v.report(time.Since(began)), nil
}

// run is one look.
type run struct {
	Options
	buckets   *spill.Buckets
	snapshots []*snapshot
	log       *eventLog // nil: there is none
	look      look
	sums      *sums
	findings  *findings

	rows, records atomic.Int64
	checked       int
}

func (v *run) accept() error {
	out := v.buckets.Writer()
	for _, text := range v.Accepted {
		of, ok := orderID(text)
		if !ok {
			return UsageError{fmt.Errorf("%q is no order's id: a UUID in lower case is", text)}
		}
		if err := out.Put(of, tagAccepted, accepted{}); err != nil {
			return err
		}
	}
	return nil
}

// read does the four steps.
func (v *run) read(ctx context.Context) (err error) {
	if len(v.Kafka) > 0 {
		if v.log, err = openLog(v.Kafka); err != nil {
			return err
		}
		defer v.log.close()
		if err := v.log.find(ctx); err != nil {
			return err
		}
		if err := v.log.noteStarts(ctx); err != nil {
			return err
		}
		if err := v.log.noteCommitted(ctx); err != nil {
			return err
		}
	}
	defer func() {
		for _, s := range v.snapshots {
			_ = s.end() // there is an error already, unless it was read, and has ended
		}
	}()
	for _, db := range v.Databases {
		s, err := takeSnapshot(ctx, db)
		if err != nil {
			return err
		}
		v.snapshots = append(v.snapshots, s)
	}
	if err := v.belongTogether(); err != nil {
		return err
	}
	if v.log != nil {
		if err := v.log.noteEnds(ctx); err != nil {
			return err
		}
	}
	if err := v.stream(ctx); err != nil {
		return err
	}
	v.describe()
	return nil
}

// belongTogether refuses databases of different systems.
func (v *run) belongTogether() error {
	in := map[service]*snapshot{}
	for _, s := range v.snapshots {
		for _, here := range s.services() {
			if other := in[here]; other != nil {
				return fmt.Errorf("both database %s and database %s have the rows of %s: name the one that is used", other.name, s.name, here)
			}
			in[here] = s
		}
		if v.log != nil && s.cluster != "" && v.log.cluster != "" && s.cluster != v.log.cluster {
			return fmt.Errorf("the events of database %s went to the Kafka cluster %s, and this is cluster %s", s.name, s.cluster, v.log.cluster)
		}
	}
	return nil
}

// stream reads all databases and the log side by side, until one of them fails.
func (v *run) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	start := func(read func() error) {
		all.Go(func() {
			if err := read(); err != nil {
				cancel(err) // the first one is the cause
			}
		})
	}
	apart := make([]*sums, len(v.snapshots))
	for i, s := range v.snapshots {
		apart[i] = newSums()
		r := &reader{snapshot: s, out: v.buckets.Writer(), sums: apart[i], rows: func(n int64) {
			v.rows.Add(n)
			v.progress()
		}}
		start(func() error {
			defer func() { _ = s.end() }() // the server need not keep old rows until the log is read, too
			return r.all(ctx)
		})
	}
	if v.log != nil {
		start(func() error {
			return v.log.read(ctx, v.buckets.Writer(), func(n int64) {
				v.records.Add(n)
				v.progress()
			})
		})
	}
	all.Wait()
	for _, s := range apart {
		v.sums.add(s)
	}
	return context.Cause(ctx)
}

func (v *run) progress() {
	if v.Progress != nil {
		v.Progress(Progress{v.rows.Load(), v.records.Load(), v.checked})
	}
}

// everGone stands for a partition of which nothing is left: whatever was in it may have been removed. Retention takes what
// is old, but somebody who deletes records need not, and no offset tells the one from the other.
const everGone = math.MaxInt64 / 2

// describe says how far was looked.
func (v *run) describe() {
	l := &v.look
	l.atRest, l.patience, l.provider = v.AtRest, v.Patience.Microseconds(), v.sums.provider
	for _, s := range v.snapshots {
		for _, here := range s.services() {
			l.at[here], l.lags[here] = s.at, s.lags[here]
		}
	}
	if v.log == nil {
		return
	}
	l.log = true
	for k := range kinds {
		topic := flow[k].topic
		l.partitions[k] = v.log.partitions[topic]
		l.starts[k] = v.log.starts[topic]
		l.gone[k] = v.log.goneFrom(topic)
		l.hidden[k] = map[int32]int64{}
		for partition, p := range v.log.parts[topic] {
			l.removed[k] += p.removed + p.hidden
			l.hidden[k][partition] = p.hidden
		}
		for s := range services {
			l.committed[s][k] = v.log.committed[s][topic]
		}
	}
	for s := range services {
		l.letterPartitions[s], l.lettersGone[s] = v.log.partitions[s.letterTopic()], v.log.goneFrom(s.letterTopic())
		for partition, p := range v.log.parts[s.letterTopic()] {
			if p.hidden > 0 { // any copy may be among them
				l.lettersGone[s][partition] = everGone
			}
		}
	}
}

// goneFrom is, for each partition that has lost something, the time before which that was.
func (l *eventLog) goneFrom(topic string) map[int32]int64 {
	gone := map[int32]int64{}
	for partition, p := range l.parts[topic] {
		switch {
		case p.gone != 0:
			gone[partition] = p.gone
		case p.start > 0 && p.start >= p.end:
			gone[partition] = everGone
		}
	}
	return gone
}

// check goes through the buckets, and then looks at the sums.
func (v *run) check(ctx context.Context) error {
	for n := range spill.Count {
		if err := ctx.Err(); err != nil {
			return err
		}
		all, err := collect(v.buckets, n)
		if err != nil {
			return err
		}
		for _, o := range all {
			o.conclude(&v.look)
			checkOrder(o, &v.look, v.sums, v.findings)
		}
		v.checked = n + 1
		v.progress()
	}
	return nil
}

// checkOrder runs every check of one order.
func checkOrder(o *order, l *look, s *sums, f *findings) {
	if o.placed() {
		f.count.Orders++
	}
	for _, check := range []func(*order, *look, *findings){
		checkAccepted, checkOnce, checkVersions, checkStandstill, checkEndings, checkProcessed, checkLetters, checkCorrelation, checkRow, checkHistory,
	} {
		check(o, l, f)
	}
	for _, check := range []func(*order, *look, *sums, *findings){checkPublished, checkHeard, checkMoney, checkReservation, checkAnalysed} {
		check(o, l, s, f)
	}
}
