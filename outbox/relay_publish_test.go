package outbox

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"millrace/transport/kafka"
)

// Whatever counts as our lag keeps every deadline of the database from firing.
func TestWhatIsTheRowsOwnFaultIsNotOurLag(t *testing.T) {
	for err, own := range map[error]bool{
		fmt.Errorf("dlq.order-service: 5000000 bytes: %w", kafka.ErrTooLarge): true,
		kerr.MessageTooLarge:             true,
		kerr.TopicAuthorizationFailed:    true,
		unreadable{errors.New("")}:       true,
		kerr.NotEnoughReplicas:           false,
		errors.New("connection refused"): false,
	} {
		if got := isUnsendable(err); got != own {
			t.Errorf("%v is the row's own fault: %v, want %v", err, got, own)
		}
	}
}
