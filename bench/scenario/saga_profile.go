package scenario

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"millrace/bench/rig"
)

// profile is a CPU profile of a router that is being taken.
type profile struct {
	done chan struct{}
	data []byte // as the router sent it; empty: none was taken
	err  error
}

// noProfile is one of nobody.
func noProfile() *profile {
	p := &profile{done: make(chan struct{})}
	close(p.done)
	return p
}

// startProfile takes a profile of the router with that operations address.
func startProfile(ctx context.Context, admin string, length time.Duration) *profile {
	p := &profile{done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.data, p.err = rig.Get(ctx, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", admin, max(1, int(length.Seconds()))))
	}()
	return p
}

// shares waits for the profile, and returns the shares of the router's parts, which add up to 1; none
// of nobody. To read a profile keeps a core busy for a second: call it when nothing is measured any more.
func (p *profile) shares(ctx context.Context) (map[string]float64, error) {
	<-p.done
	if p.err != nil {
		return nil, fmt.Errorf("profile the router: %w", p.err)
	}
	if len(p.data) == 0 {
		return nil, nil
	}
	return readProfile(ctx, p.data)
}

func readProfile(ctx context.Context, data []byte) (map[string]float64, error) {
	file, err := os.CreateTemp("", "millrace-profile-")
	if err != nil {
		return nil, fmt.Errorf("keep a profile: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.Write(data)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, fmt.Errorf("keep a profile: %w", err)
	}
	// The tool that comes with Go reads its own format.
	text, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", file.Name()).Output()
	if err != nil {
		return nil, fmt.Errorf("read a profile: %w", err)
	}
	return sharesOf(string(text))
}

var (
	// separator stands between two stacks.
	separator = regexp.MustCompile(`(?m)^-+\+-+$`)
	// partLabel is the label that the router gives to the goroutines of each of its parts.
	partLabel = regexp.MustCompile(`(?m)^\s*part:\s*\[?(.*?)\]?$`)
	// sampled is how long a stack was seen, before its innermost function.
	sampled = regexp.MustCompile(`(?m)^\s+([0-9.]+(?:ns|us|µs|ms|s|mins|hrs))\s+\S`)
)

// sharesOf adds up the stacks of pprof -traces by part.
func sharesOf(traces string) (map[string]float64, error) {
	parts, total := map[string]float64{}, 0.0
	for _, stack := range separator.Split(traces, -1)[1:] {
		value := sampled.FindStringSubmatch(stack)
		if value == nil {
			continue // behind the last one
		}
		d, err := time.ParseDuration(value[1])
		if err != nil {
			return nil, fmt.Errorf("read a profile: %w", err)
		}
		label := ""
		if found := partLabel.FindStringSubmatch(stack); found != nil {
			label = found[1]
		}
		parts[partOf(label, stack)] += d.Seconds()
		total += d.Seconds()
	}
	for part := range parts {
		parts[part] /= total
	}
	return parts, nil
}

// partOf names the part of the router that a stack belongs to: by the label of its goroutine, and
// where a goroutine serves several or has none, by who is on the stack. The order matters.
func partOf(label, stack string) string {
	on := func(functions ...string) bool {
		for _, f := range functions {
			if strings.Contains(stack, f) {
				return true
			}
		}
		return false
	}
	switch {
	case on("runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.bgscavenge"):
		return "gc"
	case label == "analytics store", on("millrace/handlers/analytics"):
		return "analytics"
	case label == "http", on("net/http.(*conn).serve"):
		return "intake"
	case strings.HasSuffix(label, " store"):
		return "store"
	case strings.HasSuffix(label, " effects"), strings.HasPrefix(label, "simulated "):
		return "effects"
	case strings.HasPrefix(label, "relay"), on("millrace/outbox.(*Relay)", "millrace/transport/kafka.(*Publisher)", "kgo.(*sink)", "kgo.(*producer)"):
		return "relay"
	case label == "message handlers", on("millrace/transport", "watermill/message", "franz-go/pkg/kgo"):
		return "subscriber"
	case on("runtime.mcall", "runtime.schedule", "runtime.mstart", "runtime.sysmon"):
		return "scheduler" // on no goroutine's behalf: who runs next, and waking threads
	default:
		return "other"
	}
}
