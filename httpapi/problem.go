package httpapi

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"millrace/event"
)

// Problem is the body of every error answer: RFC 9457, application/problem+json.
type Problem struct {
	Type     string       `json:"type" doc:"What kind of problem it is; about:blank says no more than the status does."`
	Title    string       `json:"title" doc:"The status in words."`
	Status   int          `json:"status" doc:"The HTTP status."`
	Detail   string       `json:"detail,omitempty" doc:"What is wrong, and what would be right."`
	Instance string       `json:"instance,omitempty" doc:"The path that was asked for."`
	Errors   []FieldError `json:"errors,omitempty" doc:"One entry for each wrong field."`
}

// FieldError is one wrong field. The value itself is never repeated: it may be
// a secret, or a customer's address, and answers end up in logs.
type FieldError struct {
	Location string `json:"location,omitempty" doc:"Where, e.g. body.items[0].quantity or query.limit."`
	Message  string `json:"message" doc:"What is wrong with it."`
}

// noMoreToSay is the problem type of RFC 9457 for problems that their status explains.
const noMoreToSay = "about:blank"

// retryAfterTimeout is what a caller is told to wait for when a request ran out
// of time: long enough for a database to fail over in parts, short enough for a shop.
const retryAfterTimeout = time.Second

// Error is the detail, or the title where there is none.
func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// GetStatus is the HTTP status; huma asks for it.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType names the media type of problems; huma asks for it.
func (p *Problem) ContentType(string) string { return problemMediaType }

const problemMediaType = "application/problem+json"

// huma lets an application replace how errors look through these package variables only.
// They are set once, before anything can run, because requests read them without a lock.
func init() {
	huma.NewError = func(status int, detail string, errs ...error) huma.StatusError {
		return newProblem(status, detail, errs...)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, detail string, errs ...error) huma.StatusError {
		if status == http.StatusInternalServerError && len(errs) > 0 {
			p, retryAfter := problemOf(ctx.Context(), errors.Join(errs...))
			if retryAfter > 0 {
				ctx.SetHeader("Retry-After", seconds(retryAfter))
			}
			return p
		}
		return newProblem(status, detail, errs...)
	}
	// JSON names are compared exactly. Otherwise {"quantity":1,"QUANTITY":-1} would be
	// validated by its first field and decoded from its second.
	huma.ValidateStrictCasing = true
	// A list is a list: null is refused, and clients need not expect it.
	huma.DefaultArrayNullable = false
}

func newProblem(status int, detail string, errs ...error) *Problem {
	p := &Problem{Type: noMoreToSay, Title: http.StatusText(status), Status: status, Detail: detail}
	for _, err := range errs {
		var at huma.ErrorDetailer
		switch {
		case err == nil:
		case errors.As(err, &at):
			d := at.ErrorDetail()
			p.Errors = append(p.Errors, FieldError{Location: d.Location, Message: d.Message})
		default:
			p.Errors = append(p.Errors, FieldError{Message: err.Error()})
		}
	}
	return p
}

// problemOf turns an error no handler gave a status to into a problem, and says
// when to come again where that helps. What is unknown is logged, and the client is
// told nothing of it but the correlation id.
func problemOf(ctx context.Context, err error) (p *Problem, retryAfter time.Duration) {
	switch {
	case errors.Is(err, event.ErrUnknownOrder):
		return newProblem(http.StatusNotFound, "There is no order with this id."), 0
	case errors.Is(err, event.ErrNotAnOrderID):
		return newProblem(http.StatusNotFound, "There is no order with this id: it is "+event.ErrNotAnOrderID.Error()+"."), 0
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return newProblem(http.StatusServiceUnavailable,
			"The request did not finish in time; it may still take effect. Repeat it with the same Idempotency-Key."), retryAfterTimeout
	case away(err):
		slog.WarnContext(ctx, "a request found the database away", "error", err)
		return newProblem(http.StatusServiceUnavailable, "The database cannot be reached at the moment."), retryAfterTimeout
	}
	id := event.CauseFrom(ctx).CorrelationID
	if entry := entryFrom(ctx); entry != nil {
		entry.err = err
	} else {
		slog.ErrorContext(ctx, "request failed", "error", err)
	}
	return newProblem(http.StatusInternalServerError, "An unexpected error occurred. It is in the log under correlation id "+id+"."), 0
}

// away tells an error of a connection, or of a server that is stopping, starting or
// full, from one of the request. SQLSTATE classes are Postgres's.
func away(err error) bool {
	if state, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		class := state.SQLState()[:min(2, len(state.SQLState()))]
		return class == "08" || class == "53" || class == "57"
	}
	_, ok := errors.AsType[*net.OpError](err)
	return ok || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Unavailable is the answer 503 with Retry-After, rounded up to whole seconds,
// for what will work again by itself: the outbox is full, the database is away.
func Unavailable(detail string, retryAfter time.Duration) error {
	return huma.ErrorWithHeaders(newProblem(http.StatusServiceUnavailable, detail),
		http.Header{"Retry-After": {seconds(retryAfter)}})
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64(max((d+time.Second-1)/time.Second, 1)), 10)
}

// writeProblem answers outside of huma: no route, a panic, a header that is refused.
func writeProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	p.Instance = r.URL.EscapedPath()
	w.Header().Set("Content-Type", problemMediaType)
	w.WriteHeader(p.Status)
	// The status is sent; a client that is gone by now is no error of ours.
	_ = json.NewEncoder(w).Encode(p)
}

// instance fills in the path. A copy, because a handler may return one error
// value to many requests.
func instance(ctx huma.Context, _ string, v any) (any, error) {
	if p, ok := v.(*Problem); ok {
		filled := *p
		u := ctx.URL()
		filled.Instance = u.EscapedPath()
		return &filled, nil
	}
	return v, nil
}
