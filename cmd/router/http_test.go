package main

import (
	"io"
	"log/slog"
	"regexp"
	"testing"

	"millrace/config"
)

// Whoever lets the system choose free ports finds them in the log.
func TestTheLogTellsEveryPortOfAPart(t *testing.T) {
	for services, want := range map[string]string{
		"":               `^http://127\.0\.0\.1:\d+$`,
		"shipping,order": `^order http://127\.0\.0\.1:\d+, shipping http://127\.0\.0\.1:\d+$`,
	} {
		environ := map[string]string{"SERVICES": services, "ADMIN_ADDR": "127.0.0.1:0"}
		for _, name := range []string{"HTTP", "ORDER", "INVENTORY", "PAYMENT", "NOTIFICATION", "ANALYTICS", "SHIPPING"} {
			environ[name+"_PORT"] = "0"
		}
		cfg, err := config.Load(environ)
		if err != nil {
			t.Fatal(err)
		}
		var c closers
		l, err := listen(t.Context(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil)), &c)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.shown(); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("SERVICES=%s: %q", services, got)
		}
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}
}
