package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// slowService is held back while the others go on. Its table is locked, so that it can process nothing.
const (
	slowService = "notification"
	lockSlow    = "LOCK TABLE notification.orders IN ACCESS EXCLUSIVE MODE"
)

// retentionFault is a retention that is shorter than one service is slow. It lasts until all others have heard
// everything, so that nothing comes afterwards that would hide how far behind the slow one was.
var retentionFault = Fault{Name: "retention-passes", What: "one service is held back while the others go on; what it has not read is removed from the topics, and it goes on in a new process", Heals: "not at all",
	On: everything, Shortest: 0, Longest: time.Second, UntilRest: true, Alone: true,
	inject: func(ctx context.Context, i *injection) (heal, error) {
		release, err := i.hold(ctx, lockSlow)
		return func(ctx context.Context) (int64, error) {
			if err := i.awaitQuiet(ctx, i.say, quiet{but: slowService, waits: true}); err != nil {
				return 0, err
			}
			i.killRouters() // who runs has read ahead
			hits, err := i.removeUnread(ctx, slowService+groupNames)
			_, failed := release(ctx)
			return hits, errors.Join(err, failed, i.startRouters())
		}, err
	}}

// removeUnread removes the records behind a group's offsets, and tells how many they were.
func (y *system) removeUnread(ctx context.Context, group string) (unread int64, err error) {
	err = y.broker.admin(ctx, func(ctx context.Context, admin *kadm.Client) error {
		committed, err := admin.FetchOffsets(ctx, group)
		if err != nil {
			return err
		}
		ends, err := admin.ListEndOffsets(ctx, committed.Partitions().Topics()...)
		if err != nil {
			return err
		}
		passed := kadm.Offsets{}
		committed.Each(func(o kadm.OffsetResponse) {
			if end, ok := ends.Lookup(o.Topic, o.Partition); ok && o.At >= 0 && end.Offset > o.At {
				passed.AddOffset(o.Topic, o.Partition, end.Offset, -1)
				unread += end.Offset - o.At
			}
		})
		answer, err := admin.DeleteRecords(ctx, passed)
		return errors.Join(err, answer.Error())
	})
	if err != nil {
		return 0, fmt.Errorf("remove what %s has not read: %w", group, err)
	}
	return unread, nil
}
