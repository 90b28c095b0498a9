package router

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/deadletter"
	"millrace/event"
	"millrace/outbox"
	"millrace/topic"
	"millrace/transport"
)

// A message that cannot be finished is put aside after half a minute if its service gets on meanwhile. Where it does not, the
// trouble is everybody's, and the message waits for as long as it takes.
func TestAnUnfinishedMessageIsPutAsideWhereOthersGetOn(t *testing.T) {
	const watched = time.Hour
	for what, c := range map[string]struct {
		until time.Duration // how long others are finished
		later bool
	}{
		"others get on":          {watched, true},
		"nobody gets on":         {0, false},
		"others got on for 15 s": {15 * time.Second, false},
	} {
		t.Run(what, func(t *testing.T) {
			logTo(t)
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), watched)
				defer cancel()
				var service progress
				go func() {
					tick := time.NewTicker(time.Second)
					defer tick.Stop()
					for end := time.Now().Add(c.until); time.Now().Before(end); {
						select {
						case <-tick.C:
							service.made()
						case <-ctx.Done():
							return
						}
					}
				}()
				msg := message.NewMessage("1", nil)
				msg.SetContext(ctx)
				began := time.Now()
				_, err := Retry(RetryConfig{Tries: 3, First: 100 * time.Millisecond, Longest: 5 * time.Second}, &service)(
					func(*message.Message) ([]*message.Message, error) { return nil, context.DeadlineExceeded })(msg)
				took := time.Since(began)
				f, ok := errors.AsType[*failure](err)
				if !ok || f.later != c.later || c.later && (took < unfinishedAfter || took > unfinishedAfter+5*time.Second) || !c.later && took < watched {
					t.Errorf("after %s: %+v", took, f)
				}
				cancel()
			})
		})
	}
}

// A redriven message that meets trouble which may pass does not keep its place for ever: its lane goes on later.
func TestARedrivenMessageIsTriedAgainLater(t *testing.T) {
	logTo(t)
	synctest.Test(t, func(t *testing.T) {
		msg := message.NewMessage("1", nil)
		msg.SetContext(t.Context())
		began := time.Now()
		_, err := Retry(RetryConfig{Tries: 3, First: 100 * time.Millisecond, Longest: 5 * time.Second}, nil)(
			func(*message.Message) ([]*message.Message, error) { return nil, context.DeadlineExceeded })(msg)
		took := time.Since(began)
		if f, ok := errors.AsType[*failure](err); !ok || !f.later || took < unfinishedAfter || took > unfinishedAfter+5*time.Second {
			t.Errorf("after %s: %+v", took, err)
		}
	})
}

// logTo has what is logged, by whoever has no logger of their own, go to the test's output.
func logTo(t *testing.T) {
	logger, flags := slog.Default(), log.Flags()
	slog.SetDefault(slog.New(slog.NewTextHandler(t.Output(), nil))) // which has package log follow
	t.Cleanup(func() {
		slog.SetDefault(logger)
		log.SetOutput(os.Stderr)
		log.SetFlags(flags)
	})
}

// script are Letters that answer as they are told, and write down what they were given.
type script struct {
	put, behind []answer
	said        []string
	letters     []deadletter.Letter
	await       error
}

type answer struct {
	status deadletter.Status
	err    error
}

func (s *script) next(list *[]answer) (deadletter.Status, error) {
	a := (*list)[0]
	*list = (*list)[1:]
	return a.status, a.err
}

func (s *script) Put(_ context.Context, l deadletter.Letter) (deadletter.Status, error) {
	s.said, s.letters = append(s.said, "put"), append(s.letters, l)
	return s.next(&s.put)
}

func (s *script) Behind(_ context.Context, l deadletter.Letter) (deadletter.Status, error) {
	s.said, s.letters = append(s.said, "behind"), append(s.letters, l)
	return s.next(&s.behind)
}

func (s *script) Await(context.Context) error {
	s.said = append(s.said, "await")
	return s.await
}

func edgeOf(t *testing.T, g Graph) (ServiceFlow, Edge) {
	t.Helper()
	if len(g) != 1 || len(g[0].Hears) != 1 {
		t.Fatal("want one arrow")
	}
	return g[0], g[0].Hears[0]
}

// A message is acknowledged when it was processed, or what became of it is durable; otherwise it comes again.
func TestWhatBecomesOfAMessageThatFailed(t *testing.T) {
	boom, lost := &BadMessageError{reason: "boom"}, errors.New("the database is away")
	parked := outbox.ErrParked
	for what, c := range map[string]struct {
		script   script
		handlers []error // of each try
		said     []string
		err      error
	}{
		"processed":                     {script{}, []error{nil}, []string{"await"}, nil},
		"a letter":                      {script{put: []answer{{deadletter.New, nil}}}, []error{boom}, []string{"await", "put"}, nil},
		"behind one":                    {script{behind: []answer{{deadletter.Parked, nil}}}, []error{parked}, []string{"await", "behind"}, nil},
		"behind one that is gone":       {script{behind: []answer{{"", nil}}}, []error{parked, nil}, []string{"await", "behind", "await"}, nil},
		"known":                         {script{put: []answer{{deadletter.Known, nil}}}, []error{boom}, []string{"await", "put"}, nil},
		"not durable":                   {script{put: []answer{{"", lost}}}, []error{boom}, []string{"await", "put"}, lost},
		"one of a flood, then mended":   {script{put: []answer{{"", deadletter.ErrPaused}}}, []error{boom, nil}, []string{"await", "put", "await"}, nil},
		"behind one, where all is full": {script{behind: []answer{{"", deadletter.ErrPaused}, {deadletter.Parked, nil}}}, []error{parked, parked}, []string{"await", "behind", "await", "behind"}, nil},
		"taken away while it waits":     {script{await: context.Canceled}, nil, []string{"await"}, context.Canceled},
	} {
		t.Run(what, func(t *testing.T) {
			s, e := edgeOf(t, Graph{Service("shipping", On(topic.ShippingInitiate, func(context.Context, event.ShippingInitiate) error { return nil }))})
			b := &binding{letters: map[string]Letters{"shipping": &c.script}, metrics: NewMetrics(prometheus.NewRegistry()), progress: map[string]*progress{"shipping": {}}, version: "v"}
			msg := message.NewMessage("1", nil)
			key := "0199c0de-0000-7000-8000-000000000001"
			msg.SetContext(event.WithCause(transport.WithDelivery(t.Context(), transport.Delivery{Key: []byte(key), Attempt: 1}), event.Cause{ID: "1"}))
			tries := 0
			_, err := b.poisonQueue(s, e)(func(*message.Message) ([]*message.Message, error) {
				tries++
				return nil, c.handlers[tries-1]
			})(msg)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || tries != len(c.handlers) || !slices.Equal(c.script.said, c.said) {
				t.Errorf("%v after %d tries, and %v; want %v after %d, and %v", err, tries, c.script.said, c.err, len(c.handlers), c.said)
			}
			for _, l := range c.script.letters {
				if l.OrderID != key || l.Version != "v" || l.ID != deadletter.NewID("shipping-service", "1") {
					t.Errorf("letter %+v", l)
				}
			}
		})
	}
}
