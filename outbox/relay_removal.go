package outbox

import "context"

// maxUndeleted is how many rows may be acknowledged and not yet deleted before the relay waits: all of
// them are published once more if it dies.
const maxUndeleted = 4 * relayBatch

// removal deletes acknowledged rows while the relay goes on: neither the consumers nor the next
// batch should wait for it. There is one deletion at a time.
type removal struct {
	acked   []int64    // to be deleted
	running chan error // of the deletion under way; nil: there is none
}

// add takes ids of rows that were acknowledged.
func (d *removal) add(ids []int64) { d.acked = append(d.acked, ids...) }

// goOn begins the next deletion, if none is under way. Where one failed, its rows are still
// there: they are to be found by a look from zero, and published once more.
func (d *removal) goOn(ctx context.Context, table *outboxTable) error {
	if d.running != nil {
		if len(d.acked) < maxUndeleted {
			select {
			case err := <-d.running:
				d.running = nil
				if err != nil {
					return err
				}
			default:
				return nil
			}
		} else if err := d.wait(); err != nil {
			return err
		}
	}
	if len(d.acked) == 0 {
		return nil
	}
	ids, done := d.acked, make(chan error, 1)
	d.acked, d.running = nil, done
	go func() { done <- table.change(ctx, deleteRows, ids) }()
	return nil
}

func (d *removal) wait() error {
	if d.running == nil {
		return nil
	}
	err := <-d.running
	d.running = nil
	return err
}

// finish deletes all that was acknowledged, and waits for it.
func (d *removal) finish(ctx context.Context, table *outboxTable) error {
	if err := d.wait(); err != nil {
		return err
	}
	if err := d.goOn(ctx, table); err != nil {
		return err
	}
	return d.wait()
}
