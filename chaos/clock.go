package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// longestJump is how far the clock goes at once. Backwards it is less than the shortest deadline, since nobody
	// waits longer than that for what was to come by then.
	longestJump = 5 * time.Second
	// clockFile says what time the database has, relative to the truth.
	clockFile = "clock"
)

// fakeTime is where the library is that gives C programs another time. Go programs ask the kernel, past every library:
// the routers' own clocks cannot be moved from outside. What they do by the clock, they do by the database's.
func fakeTime() string {
	found, _ := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1") // the pattern is well formed
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

func needsFakeTime(_ Kafka, s Scenario) string {
	switch {
	case !s.FakeClock:
		return "the database has no clock that can be moved"
	case fakeTime() == "":
		return "libfaketime is not on this machine (Debian's package libfaketime)"
	}
	return ""
}

// withFakeClock runs a start of the server, and gives it a clock that can be moved.
func (y *system) withFakeClock(start func() error) (err error) {
	if err := setClock(y.dir, 0); err != nil {
		return err
	}
	for name, value := range map[string]string{"LD_PRELOAD": fakeTime(), "FAKETIME_TIMESTAMP_FILE": filepath.Join(y.dir, clockFile), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.Unsetenv(name)) }()
	}
	return start()
}

func setClock(dir string, ahead time.Duration) error {
	path := filepath.Join(dir, clockFile)
	err := os.WriteFile(path+".new", fmt.Appendf(nil, "%+.3f\n", ahead.Seconds()), 0o644)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("move the clock: %w", err)
	}
	return nil
}

// moveClock is felt if the database is far enough from the truth.
func moveClock(ctx context.Context, i *injection) (heal, error) {
	ahead := time.Second + time.Duration(i.random.Int64N(int64(longestJump-time.Second)))
	if i.random.IntN(2) == 0 {
		ahead = -ahead
	}
	if err := setClock(i.dir, ahead); err != nil {
		return nil, err
	}
	var now time.Time
	if err := i.database.admin.QueryRowContext(ctx, "SELECT clock_timestamp()").Scan(&now); err != nil {
		return nil, err
	}
	felt := (time.Until(now) - ahead).Abs() < time.Second/2
	return func(context.Context) (int64, error) { return count(felt), setClock(i.dir, 0) }, nil
}
