package logging_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"millrace/event"
	"millrace/logging"
)

func TestEveryLineUnderACauseHasItsCorrelationID(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log, err := logging.New(&out, format, slog.LevelInfo)
		if err != nil {
			t.Fatal(err)
		}
		ctx := event.WithCause(t.Context(), event.Cause{ID: "x", CorrelationID: "corr-7"})
		log.With("service", "order").InfoContext(ctx, "done")
		if !strings.Contains(out.String(), "corr-7") {
			t.Errorf("%s: %q lacks the correlation id", format, out.String())
		}
		out.Reset()
		log.InfoContext(t.Context(), "done")
		if strings.Contains(out.String(), "correlation_id") {
			t.Errorf("%s: %q has a correlation id from nowhere", format, out.String())
		}
	}
}

func TestAWrongFormatIsNamed(t *testing.T) {
	if _, err := logging.New(&bytes.Buffer{}, "xml", slog.LevelInfo); err == nil || !strings.Contains(err.Error(), "xml") {
		t.Errorf("error %v, want one that names the format", err)
	}
}
