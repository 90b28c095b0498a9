package analyticshttp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"millrace/httpapi"
)

// pace is how often a stream does what.
type pace struct {
	look      time.Duration // look for a change, and so the most often it is told
	heartbeat time.Duration // say something after so long a silence
	patience  time.Duration // end it when the client has read nothing for so long
}

// A second is what an eye can follow. Proxies close what is silent for half a minute or so.
var streamPace = pace{look: time.Second, heartbeat: 15 * time.Second, patience: 10 * time.Second}

const (
	// maxStreams leaves most of the requests a server can have in flight to others.
	maxStreams = 100
	// readLimit ends a look at a database that does not answer.
	readLimit = 5 * time.Second
	// reconnectAfter is what a browser waits before it comes back.
	reconnectAfter = 2 * time.Second
)

func registerStream(api huma.API, reads Reads, p pace) {
	s := &stream{reads: reads, pace: p, turn: make(chan struct{}, 1), places: make(chan struct{}, maxStreams)}
	schema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Summary](), true, "")
	huma.Register(api, huma.Operation{
		OperationID: "stream-analytics-summary", Method: http.MethodGet, Path: "/analytics/stream",
		Summary:     "Follow the summary",
		Description: "Server-sent events named summary, each with the whole summary: at once, and then when it has changed, at most one a second. Comment lines keep a silent connection open.",
		Security:    httpapi.Scope(httpapi.ScopeShop, httpapi.ScopeOperator),
		Tags:        []string{"analytics"},
		Metadata:    httpapi.Streaming(),
		Errors:      []int{http.StatusServiceUnavailable},
		Responses: map[string]*huma.Response{"200": {
			Description: "The stream; the schema is that of each event's data.",
			Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
		}},
	}, s.open)
}

// stream tells any number of clients of changes. However many they are, the database is
// asked for one of them at a time, and the answer serves all.
type stream struct {
	reads  Reads
	pace   pace
	places chan struct{} // one for each client

	turn   chan struct{} // held while the next two are used
	latest snapshot
	readAt time.Time
}

// snapshot is a summary; unchanged is how to tell whether another is the same.
type snapshot struct {
	summary   Summary
	unchanged string // the summary as JSON, without the time at which it was read
}

func (s *stream) open(context.Context, *struct{}) (*huma.StreamResponse, error) {
	select {
	case s.places <- struct{}{}:
	default:
		return nil, httpapi.Unavailable(fmt.Sprintf("%d clients follow the summary already.", maxStreams), reconnectAfter)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer func() { <-s.places }()
		s.follow(ctx)
	}}, nil
}

// follow writes until the client leaves or the server drains; both end the context.
func (s *stream) follow(hctx huma.Context) {
	ctx := hctx.Context()
	r, w := humachi.Unwrap(hctx)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return
	}
	conn := http.NewResponseController(w)
	say := func(text string) bool {
		// A writer that knows no deadlines has no client that could be slow.
		_ = conn.SetWriteDeadline(time.Now().Add(s.pace.patience))
		if _, err := w.Write([]byte(text)); err != nil {
			return false
		}
		return conn.Flush() == nil
	}

	if !say(fmt.Sprintf("retry: %d\n\n", reconnectAfter.Milliseconds())) {
		return
	}
	look := time.NewTicker(s.pace.look)
	defer look.Stop()
	told, spoke := "", time.Now()
	for {
		// While the database is away there is nothing new, which is what the client is told.
		now, err := s.read(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && now.unchanged != told:
			data, err := json.Marshal(now.summary)
			if err != nil || !say("event: summary\ndata: "+string(data)+"\n\n") {
				return
			}
			told, spoke = now.unchanged, time.Now()
		case time.Since(spoke) >= s.pace.heartbeat:
			if !say(": still here\n\n") {
				return
			}
			spoke = time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// read returns the latest summary, which another client may have asked for just now.
func (s *stream) read(ctx context.Context) (snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return snapshot{}, ctx.Err()
	}
	if time.Since(s.readAt) < s.pace.look/2 {
		return s.latest, nil
	}
	summary, err := s.reads.Summary(ctx)
	if err != nil {
		return snapshot{}, err
	}
	view := summaryOf(summary)
	timeless := view
	timeless.AsOf = time.Time{}
	unchanged, err := json.Marshal(timeless)
	if err != nil {
		return snapshot{}, err
	}
	s.latest, s.readAt = snapshot{view, string(unchanged)}, time.Now()
	return s.latest, nil
}
