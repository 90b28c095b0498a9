package httpapi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/event"
	"millrace/httpapi"
)

func TestRequestsCarryTheirCause(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	var got event.Cause
	get(api, "/cause", func(ctx context.Context) (string, error) { got = event.CauseFrom(ctx); return "", nil })
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

	w := send(t, api, "GET", "/cause", "", "X-Correlation-ID", "shop 4711/a", "traceparent", trace)
	if got.CorrelationID != "shop 4711/a" || w.Header().Get("X-Correlation-ID") != "shop 4711/a" || got.TraceParent != trace {
		t.Errorf("cause %+v, echoed %q", got, w.Header().Get("X-Correlation-ID"))
	}
	if id, err := uuid.Parse(got.ID); err != nil || id.Version() != 7 || !got.Command || time.Since(got.Time) > time.Minute || got.Time.Location() != time.UTC {
		t.Errorf("cause %+v: %v", got, err)
	}

	first := got
	w = send(t, api, "GET", "/cause", "")
	if id, err := uuid.Parse(got.CorrelationID); err != nil || id.Version() != 7 || w.Header().Get("X-Correlation-ID") != got.CorrelationID {
		t.Errorf("made correlation id %q, echoed %q", got.CorrelationID, w.Header().Get("X-Correlation-ID"))
	}
	if got.ID == first.ID || !strings.HasPrefix(got.TraceParent, "00-") || len(got.TraceParent) != 55 {
		t.Errorf("cause %+v", got)
	}
}

func TestTraceParentIsTakenOrMade(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	var got string
	get(api, "/cause", func(ctx context.Context) (string, error) { got = event.CauseFrom(ctx).TraceParent; return "", nil })
	const id, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for sent, taken := range map[string]bool{
		"00-" + id + "-" + span + "-00":                             true,
		"cc-" + id + "-" + span + "-01-what-comes-later":            true,
		"cc-" + id + "-" + span + "-01.what":                        false,
		"00-" + id + "-" + span + "-01-more":                        false,
		"ff-" + id + "-" + span + "-01":                             false,
		"00-" + strings.ToUpper(id) + "-" + span + "-01":            false,
		"00-" + strings.Repeat("0", 32) + "-" + span + "-01":        false,
		"00-" + id + "-" + strings.Repeat("0", 16) + "-01":          false,
		"00-" + id + "-" + span:                                     false,
		"00+" + id + "+" + span + "+01":                             false,
		"x":                                                         false,
		"cc-" + id + "-" + span + "-01-" + strings.Repeat("x", 200): false,
	} {
		send(t, api, "GET", "/cause", "", "traceparent", sent)
		if (got == sent) != taken || len(got) < 55 {
			t.Errorf("%q became %q", sent, got)
		}
	}
}

func TestBadHeadersAreRefused(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	reached := false
	get(api, "/reach", func(context.Context) (string, error) { reached = true; return "", nil })
	for _, header := range [][2]string{
		{"X-Correlation-ID", strings.Repeat("x", 129)}, {"X-Correlation-ID", "a\tb"}, {"X-Correlation-ID", "naïve"},
		{"Idempotency-Key", strings.Repeat("x", 256)}, {"Idempotency-Key", ""}, {"Idempotency-Key", "\xff"},
	} {
		p := problem(t, send(t, api, "GET", "/reach", "", header[0], header[1]), 400, "/reach")
		if len(p.Errors) != 1 || p.Errors[0].Location != "header."+header[0] {
			t.Errorf("%q: errors %+v", header, p.Errors)
		}
	}
	if reached {
		t.Error("the operation was reached")
	}
}
