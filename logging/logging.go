// Package logging makes the process's logger: text or JSON, and on every line that was written
// under a cause, the cause's correlation id.
package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"millrace/event"
)

// New returns a logger. Format is "text" or "json".
func New(w io.Writer, format string, level slog.Level) (*slog.Logger, error) {
	opts := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(correlated{slog.NewTextHandler(w, opts)}), nil
	case "json":
		return slog.New(correlated{slog.NewJSONHandler(w, opts)}), nil
	default:
		return nil, fmt.Errorf("log format %q: want text or json", format)
	}
}

// correlated adds the correlation id of the context's cause to each line.
type correlated struct{ slog.Handler }

// Handle adds the id, where there is one.
func (h correlated) Handle(ctx context.Context, r slog.Record) error {
	if id := event.CauseFrom(ctx).CorrelationID; id != "" {
		r.AddAttrs(slog.String("correlation_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the wrapping.
func (h correlated) WithAttrs(attrs []slog.Attr) slog.Handler {
	return correlated{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the wrapping.
func (h correlated) WithGroup(name string) slog.Handler { return correlated{h.Handler.WithGroup(name)} }
