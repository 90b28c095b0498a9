package router

import (
	"log/slog"

	"github.com/ThreeDotsLabs/watermill"
)

// logger is what Watermill logs to. Two traces for each message are not even put together.
type logger struct{ watermill.LoggerAdapter }

func newLogger() watermill.LoggerAdapter {
	return logger{watermill.NewSlogLoggerWithLevelMapping(slog.Default(), map[slog.Level]slog.Level{
		slog.LevelInfo: slog.LevelDebug, // a line for each subscription is no news to an operator
	})}
}

// Trace implements watermill.LoggerAdapter.
func (logger) Trace(string, watermill.LogFields) {}

// With implements watermill.LoggerAdapter.
func (l logger) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return logger{l.LoggerAdapter.With(fields)}
}
