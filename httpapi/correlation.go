package httpapi

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"millrace/event"
)

// The headers that tie a request to what it causes.
const (
	CorrelationIDHeader  = "X-Correlation-ID"
	IdempotencyKeyHeader = "Idempotency-Key"
	traceParentHeader    = "traceparent"
)

const (
	// maxCorrelationID bounds what is copied onto every event and log line of an order.
	maxCorrelationID = 128
	// maxIdempotencyKey is room for two UUIDs and a word; it is kept in rows.
	maxIdempotencyKey = 255
)

// cause puts an event.Cause into the context of a request, so that all it changes and says
// can be traced to it, and echoes the correlation id. A bad id is refused, not replaced:
// whoever sends one means to look for it later.
func cause(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// crypto/rand does not fail (it ends the process), so Must cannot panic.
		c := event.Cause{
			ID:            uuid.Must(uuid.NewV7()).String(),
			CorrelationID: r.Header.Get(CorrelationIDHeader),
			TraceParent:   r.Header.Get(traceParentHeader),
			Time:          time.Now().UTC(),
			Command:       true,
		}
		sent := c.CorrelationID
		accepted := sent != "" && printable(sent, maxCorrelationID)
		if !accepted {
			c.CorrelationID = uuid.Must(uuid.NewV7()).String()
		}
		if !validTraceParent(c.TraceParent) {
			c.TraceParent = newTraceParent()
		}
		w.Header().Set(CorrelationIDHeader, c.CorrelationID)
		r = r.WithContext(event.WithCause(r.Context(), c))
		if entry := entryFrom(r.Context()); entry != nil {
			entry.correlationID = c.CorrelationID
		}

		if sent != "" && !accepted {
			writeProblem(w, r, headerProblem(CorrelationIDHeader, "1 to 128 printable ASCII characters"))
			return
		}
		if keys := r.Header.Values(IdempotencyKeyHeader); len(keys) > 1 || len(keys) == 1 && !printable(keys[0], maxIdempotencyKey) {
			writeProblem(w, r, headerProblem(IdempotencyKeyHeader, "one value of 1 to 255 printable ASCII characters"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func headerProblem(name, right string) *Problem {
	p := newProblem(http.StatusBadRequest, "The header "+name+" must be "+right+".")
	p.Errors = []FieldError{{Location: "header." + name, Message: "must be " + right}}
	return p
}

// printable tells whether s can go into logs and Kafka headers as it is.
func printable(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// The parts of a W3C traceparent: version, trace id, parent id, flags.
const (
	traceParentLength = 55
	traceIDLength     = 16
	spanIDLength      = 8
)

// validTraceParent knows version 00, and reads the first four parts of later
// ones, as W3C Trace Context asks. Anything else is treated as if it were not there.
func validTraceParent(s string) bool {
	if len(s) < traceParentLength || len(s) > maxCorrelationID {
		return false
	}
	version, rest := s[:2], s[traceParentLength:]
	if version == "ff" || rest != "" && (version == "00" || rest[0] != '-') {
		return false
	}
	parts := strings.Split(s[:traceParentLength], "-")
	if len(parts) != 4 {
		return false
	}
	for i, length := range []int{2, 2 * traceIDLength, 2 * spanIDLength, 2} {
		if len(parts[i]) != length || strings.Trim(parts[i], "0123456789abcdef") != "" {
			return false
		}
	}
	return strings.Trim(parts[1], "0") != "" && strings.Trim(parts[2], "0") != "" && printable(rest+"-", maxCorrelationID)
}

// newTraceParent begins a trace. It is marked as not sampled, since nothing here
// records spans.
func newTraceParent() string {
	var id [traceIDLength + spanIDLength]byte
	_, _ = rand.Read(id[:]) // never fails
	return "00-" + hex.EncodeToString(id[:traceIDLength]) + "-" + hex.EncodeToString(id[traceIDLength:]) + "-00"
}
