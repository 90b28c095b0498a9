package millrace_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// room is a rule about packages: which of our own they may lean on, which third
// parties they may know. The first rule whose pattern matches a package holds.
type room struct {
	pattern string   // path.Match on the package's path below the module
	own     []string // patterns; "self" is the package's own module under handlers/
	third   []string // import path prefixes; "*" is everything
	banned  []string // standard library packages it must not know
}

var rooms = []room{
	{pattern: "event", banned: []string{"database/sql", "net/http"}},
	{pattern: "topic", own: []string{"event"}, third: []string{"github.com/go-json-experiment/json/v1"}, banned: []string{"database/sql", "net/http"}},
	{pattern: "fault"}, // what is asked in many places must lean on nothing
	{pattern: "logging", own: []string{"event"}},
	{pattern: "signature"},
	{pattern: "transport", third: []string{"github.com/ThreeDotsLabs/watermill/message", "github.com/google/uuid"}},
	{pattern: "transport/internal/*", own: []string{"fault", "transport", "transport/internal/*"}, third: []string{"github.com/ThreeDotsLabs/watermill"}},
	{pattern: "transport/transporttest", own: []string{"transport"}, third: []string{"*"}},
	{pattern: "transport/watermill", own: []string{"transport", "transport/kafka", "transport/internal/*"}, third: []string{"*"}},
	{pattern: "transport/*", own: []string{"fault", "transport", "transport/internal/*"}, third: []string{"*"}},
	{pattern: "outbox", own: []string{"event", "fault", "topic", "transport"}, third: []string{
		"github.com/ThreeDotsLabs/watermill", "github.com/ThreeDotsLabs/watermill-sql/v3", "github.com/lib/pq", "github.com/pressly/goose/v3", "github.com/google/uuid",
		"github.com/twmb/franz-go/pkg/kerr", "github.com/prometheus/client_golang", "github.com/cenkalti/backoff/v5", "github.com/go-json-experiment/json/v1"}},
	{pattern: "groupcommit"},
	// Package deadletter's own tests have it too, so it cannot know the letters.
	{pattern: "deadletter/deadlettertest", own: []string{"event", "outbox"}, third: []string{"github.com/ThreeDotsLabs/watermill/message"}},
	{pattern: "deadletter/dialect", own: []string{"deadletter", "outbox", "transport"}},
	{pattern: "deadletter/ui", own: []string{"deadletter", "deadletter/filter", "deadletter/plural"}, third: []string{"charm.land/bubbletea/v2", "github.com/charmbracelet/x/ansi"}, banned: []string{"database/sql", "net/http"}},
	{pattern: "deadletter/foreign", own: []string{"deadletter", "deadletter/dialect", "deadletter/filter", "outbox", "transport"}, third: []string{"github.com/google/uuid"}},
	{pattern: "deadletter/reindex", own: []string{"deadletter", "deadletter/dialect", "event", "outbox", "transport"}, third: []string{"github.com/google/uuid"}},
	{pattern: "deadletter/plural"},
	{pattern: "deadletter/filter", third: []string{"github.com/google/uuid"}},
	{pattern: "deadletter", own: []string{"event", "outbox", "transport", "groupcommit", "deadletter/filter", "deadletter/plural"}, third: []string{
		"github.com/ThreeDotsLabs/watermill", "github.com/google/uuid", "github.com/prometheus/client_golang", "golang.org/x/time/rate"}},
	{pattern: "httpapi", own: []string{"event", "signature", "httpapi/*"}, third: []string{"*"}},
	{pattern: "httpapi/*", own: []string{"httpapi", "httpapi/*"}, third: []string{"*"}},
	{pattern: "config", own: []string{"httpapi/auth"}, third: []string{"github.com/caarlos0/env/v11"}},
	{pattern: "embedded", own: []string{"embedded/*"}, third: []string{"*"}},
	{pattern: "embedded/*", own: []string{"embedded", "embedded/*"}, third: []string{"*"}},
	{pattern: "testserver", own: []string{"embedded", "embedded/*", "testserver/*"}, third: []string{"*"}},
	{pattern: "testserver/*", own: []string{"embedded", "embedded/*", "testserver/*"}, third: []string{"*"}},
	{pattern: "handlers/*/*pg", own: []string{"event", "outbox", "groupcommit", "self"}, third: []string{"github.com/lib/pq", "github.com/google/uuid"}},
	{pattern: "handlers/*/*http", own: []string{"event", "httpapi", "httpapi/*", "self"}, third: []string{"github.com/danielgtaylor/huma/v2", "github.com/go-chi/chi/v5", "github.com/google/uuid"}},
	{pattern: "handlers/payment/breaker", own: []string{"event", "self"}, third: []string{"github.com/sony/gobreaker/v2"}},
	{pattern: "handlers/*/simulator", own: []string{"event", "signature", "self"}},
	{pattern: "handlers/*", own: []string{"event"}, banned: []string{"database/sql", "net/http"}},
	{pattern: "router", own: []string{"event", "topic", "outbox", "deadletter", "transport", "handlers/*", "handlers/*/*http", "httpapi", "httpapi/*", "config"}, third: []string{"*"}},
	{pattern: "demo", own: []string{"event"}, third: []string{"*"}},
	// The checker shares nothing with what it checks: a mistake there must not be made here a second time.
	{pattern: "verify", own: []string{"verify/spill"}, third: []string{
		"github.com/twmb/franz-go/pkg/kgo", "github.com/twmb/franz-go/pkg/kadm", "github.com/twmb/franz-go/pkg/kerr", "github.com/go-json-experiment/json/v1"}},
	{pattern: "verify/spill"},
	{pattern: "story"},
	// The fault machine knows the system from outside, and leaves the verdict to router verify.
	{pattern: "chaos", own: []string{"chaos/wire", "bench/rig", "embedded", "embedded/*", "signature", "testserver/*"}, third: []string{
		"github.com/lib/pq", "github.com/google/uuid", "github.com/twmb/franz-go/pkg/kgo", "github.com/twmb/franz-go/pkg/kadm", "github.com/twmb/franz-go/pkg/kmsg", "github.com/twmb/franz-go/pkg/kerr"}},
	{pattern: "chaos/wire", third: []string{"github.com/twmb/franz-go/pkg/kmsg", "github.com/twmb/franz-go/pkg/kerr"}},
	{pattern: "bench", own: []string{"bench/rig"}},
	// The opponent is stock Watermill: ours are only the domain, the words and the routes.
	{pattern: "bench/stock", own: []string{"event", "topic", "httpapi", "handlers/*", "handlers/*/*"}, third: []string{
		"github.com/ThreeDotsLabs/watermill", "github.com/ThreeDotsLabs/watermill-kafka/v3", "github.com/ThreeDotsLabs/watermill-sql/v3",
		"github.com/IBM/sarama", "github.com/lib/pq", "github.com/google/uuid", "github.com/go-chi/chi/v5"}},
	{pattern: "bench/*", own: []string{"*", "bench/*", "embedded/*", "testserver/*", "transport/*", "handlers/*", "handlers/*/*pg", "handlers/*/simulator"}, third: []string{"*"}},
	{pattern: "cmd/exit", third: []string{"github.com/lib/pq"}},
	{pattern: "cmd/bench", own: []string{"bench", "bench/*", "cmd/exit", "embedded", "logging", "testserver/*"}, third: []string{"github.com/spf13/cobra"}},
	{pattern: "cmd/*", own: []string{"*"}, third: []string{"*"}},
}

const module = "millrace"

// check returns what is wrong with one package importing one path.
func check(pkg, imported string) string {
	i := slices.IndexFunc(rooms, func(r room) bool { return matches(r.pattern, pkg) })
	if i < 0 {
		return fmt.Sprintf("package %s has no room: give it a line in arch_test.go", pkg)
	}
	r := rooms[i]
	own, isOwn := strings.CutPrefix(imported, module+"/")
	switch {
	case isOwn:
		for _, p := range r.own {
			if p == "*" || matches(p, own) || p == "self" && serviceOf(own) == serviceOf(pkg) {
				return ""
			}
		}
		return fmt.Sprintf("%s must not lean on %s", pkg, own)
	case strings.Contains(strings.Split(imported, "/")[0], "."):
		for _, p := range r.third {
			if p == "*" || imported == p || strings.HasPrefix(imported, p+"/") {
				return ""
			}
		}
		return fmt.Sprintf("%s must not know %s", pkg, imported)
	case slices.Contains(r.banned, imported):
		return fmt.Sprintf("%s must not know %s", pkg, imported)
	}
	return ""
}

func matches(pattern, name string) bool {
	ok, _ := path.Match(pattern, name)
	return ok
}

// serviceOf is the service a package belongs to: handlers/<service>.
func serviceOf(pkg string) string {
	parts := strings.SplitN(pkg, "/", 3)
	if len(parts) < 2 || parts[0] != "handlers" {
		return pkg
	}
	return parts[0] + "/" + parts[1]
}

// Imports are parsed here, not listed by a child process: the test cache sees what
// this process reads, so a new import is found at once.
func TestRooms(t *testing.T) {
	seen := map[string]bool{}
	walk(t, func(file, pkg string) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		seen[pkg] = true
		if complaint := check(pkg, "context"); complaint != "" { // also a package without imports needs a room
			t.Errorf("%s: %s", file, complaint)
		}
		for _, spec := range parsed.Imports {
			if complaint := check(pkg, strings.Trim(spec.Path.Value, `"`)); complaint != "" {
				t.Errorf("%s: %s", file, complaint)
			}
		}
	})
	for _, r := range rooms {
		if !slices.ContainsFunc(slices.Collect(keys(seen)), func(pkg string) bool { return matches(r.pattern, pkg) }) {
			t.Errorf("no package is left for the rule %q: remove it", r.pattern)
		}
	}
}

func keys(m map[string]bool) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func walk(t *testing.T, visit func(file, pkg string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "build"):
			return filepath.SkipDir
		case !d.IsDir() && strings.HasSuffix(p, ".go") && filepath.Dir(p) != ".":
			visit(p, filepath.ToSlash(filepath.Dir(p)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A guard that cannot fail is decoration: each law must refuse what it is there for.
func TestRoomsBite(t *testing.T) {
	for _, c := range []struct{ pkg, imported string }{
		{"handlers/payment", "millrace/handlers/order"},
		{"handlers/payment", "database/sql"},
		{"handlers/payment", "net/http"},
		{"handlers/payment", "millrace/outbox"},
		{"handlers/payment", "github.com/ThreeDotsLabs/watermill/message"},
		{"handlers/payment/paymentpg", "millrace/handlers/order/orderpg"},
		{"handlers/payment/paymentpg", "github.com/danielgtaylor/huma/v2"},
		{"handlers/order/orderhttp", "github.com/lib/pq"},
		{"handlers/order/orderhttp", "millrace/outbox"},
		{"event", "millrace/topic"},
		{"event", "github.com/google/uuid"},
		{"topic", "millrace/handlers/order"},
		{"outbox", "millrace/handlers/order"},
		{"outbox", "github.com/twmb/franz-go/pkg/kgo"},
		{"transport/kafka", "millrace/outbox"},
		{"transport", "millrace/event"},
		{"deadletter", "millrace/router"},
		{"httpapi", "millrace/handlers/order"},
		{"config", "millrace/outbox"},
		{"router", "millrace/handlers/order/orderpg"},
		{"bench/stock", "millrace/outbox"},
		{"bench/stock", "millrace/transport/kafka"},
		{"bench/stock", "github.com/twmb/franz-go/pkg/kgo"},
		{"outbox", "millrace/bench"},
		{"chaos", "millrace/outbox"},
		{"chaos", "millrace/verify"},
		{"verify", "millrace/outbox"},
		{"verify", "millrace/event"},
		{"verify", "millrace/topic"},
		{"verify", "github.com/lib/pq"},
		{"somewhere/new", "context"},
	} {
		if check(c.pkg, c.imported) == "" {
			t.Errorf("%s may import %s: the law is blind", c.pkg, c.imported)
		}
	}
}

// Modules meet in events, not in each other's tables.
func TestNoServiceReadsAnothersSchema(t *testing.T) {
	schemas := map[string]string{"order": "orders", "payment": "payments", "inventory": "inventory", "shipping": "shipping", "notification": "notification", "analytics": "analytics"}
	foreign := func(service, text string) string {
		for other, schema := range schemas {
			if other == service {
				continue
			}
			if m := regexp.MustCompile(`(?i)\b(from|join|into|update|table|references|on)\s+` + schema + `\.\w+`).FindString(text); m != "" {
				return m
			}
		}
		return ""
	}
	for service := range schemas {
		dir := filepath.Join("handlers", service, service+"pg")
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			if m := foreign(service, string(data)); m != "" {
				t.Errorf("%s reaches into another service's tables: %q", p, m)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if foreign("payment", "SELECT 1 FROM orders.orders") == "" {
		t.Error("the law is blind")
	}
}
