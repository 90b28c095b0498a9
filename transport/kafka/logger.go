package kafka

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
)

// logger passes franz-go's warnings and errors on, both as warnings: it goes on by
// itself after each of them. What it calls info is a line per rebalance and request: debug, to us.
type logger struct{ to *slog.Logger }

func (l logger) Level() kgo.LogLevel {
	if l.to.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelWarn
}

func (l logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelDebug
	if level == kgo.LogLevelError || level == kgo.LogLevelWarn {
		to = slog.LevelWarn
	}
	l.to.Log(context.Background(), to, "kafka: "+msg, keyvals...)
}
