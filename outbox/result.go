package outbox

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"millrace/fault"
)

// outcome gathers what the batch has to write.
func (w *work[S, V]) outcome() (*outcome, error) {
	out := &outcome{messages: w.messages, entries: w.entries, ledger: w.ledger}
	sums := map[sumKey]int64{}
	for _, r := range w.order {
		w.waits(out, r)
		w.sumsOf(out, sums, r)
		rec := r.record
		rec.state = r.good
		out.rows = append(out.rows, rowWrite{record: rec, newIDs: r.newIDs, columns: r.columns})
	}
	// Every process writes rows in the same order: none waits for another that waits for it.
	slices.SortFunc(out.rows, func(a, b rowWrite) int { return cmp.Compare(a.id, b.id) })
	for key, n := range sums {
		if n != 0 {
			out.sums = append(out.sums, key.sum(n))
		}
	}
	for key := range w.changed {
		v := w.current[key]
		fields := w.store.table.Side.Fields(&v)
		values := make([]any, len(fields))
		for i, f := range fields {
			value, err := valueOf(f)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", w.store.table.Side.Name, key, err)
			}
			values[i] = value
		}
		out.sides = append(out.sides, sideWrite{key: key, fields: values})
	}
	return out, nil
}

// waits compares what the row waited for with what it waits for now. A step that
// stays keeps its due time, so it is not written at all.
func (w *work[S, V]) waits(out *outcome, r *row[S]) {
	if w.store.table.Waits == nil {
		return
	}
	steps := make([]string, 0, len(r.waits))
	for _, wait := range r.waits {
		steps = append(steps, wait.Step)
		if !slices.Contains(r.wasWaiting, wait.Step) && !fault.On(fault.LoseWait) {
			out.waits = append(out.waits, waitWrite{waitKey: waitKey{r.id, wait.Step}, after: wait.After})
		}
	}
	for _, step := range r.wasWaiting {
		if !slices.Contains(steps, step) {
			out.waitsEnd = append(out.waitsEnd, waitKey{r.id, step})
		}
	}
	r.waiting = steps
}

// sumsOf adds what the row contributes now and takes away what it contributed before.
// What no int64 can hold goes into a delta of its own: the database adds without limit.
func (w *work[S, V]) sumsOf(out *outcome, sums map[sumKey]int64, r *row[S]) {
	add := func(list []Sum, sign int64) {
		for _, s := range list {
			key, n := sumKey{s.Minute.Unix(), s.Name, s.Key}, sign*s.N
			old := sums[key]
			if sum := old + n; (sum > old) == (n > 0) {
				sums[key] = sum
				continue
			}
			out.sums = append(out.sums, key.sum(old))
			sums[key] = n
		}
	}
	add(r.sums, 1)
	if fault.On(fault.CountTwice) {
		add(r.sums, 1)
	}
	add(r.sumsBefore, -1)
}

type sumKey struct {
	minute    int64 // Unix seconds: two time.Time of one instant need not be equal
	name, key string
}

func (k sumKey) sum(n int64) Sum {
	return Sum{Minute: time.Unix(k.minute, 0).UTC(), Name: k.name, Key: k.key, N: n}
}

// assign and valueOf are the two kinds of column a side row may have.
func assign(target, value any) error {
	switch t := target.(type) {
	case *string:
		v, ok := value.(string)
		if !ok {
			return fmt.Errorf("a text column holds %T", value)
		}
		*t = v
	case *int64:
		v, ok := value.(int64)
		if !ok {
			return fmt.Errorf("a number column holds %T", value)
		}
		*t = v
	default:
		return fmt.Errorf("a field of type %T: only *string and *int64 are stored", target)
	}
	return nil
}

func valueOf(field any) (any, error) {
	switch f := field.(type) {
	case *string:
		return *f, nil
	case *int64:
		return *f, nil
	default:
		return nil, fmt.Errorf("a field of type %T: only *string and *int64 are stored", field)
	}
}
