//go:build unix

package realkafka

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// jars skips, or fails with MILLRACE_REQUIRE_KAFKA=1, where there are none.
func jars(t *testing.T) string {
	t.Helper()
	dir, err := FindJars()
	if errors.Is(err, ErrMissing) && os.Getenv("MILLRACE_REQUIRE_KAFKA") != "1" {
		t.Skipf("LEFT OUT: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAKilledBrokerComesBackWithItsRecords(t *testing.T) {
	c := Config{Dir: t.TempDir(), Jars: jars(t)}
	b, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.ConsumeTopics("kept"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "kept", Value: []byte("42")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.Kill()

	_, port, err := net.SplitHostPort(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if c.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	again, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	records := client.PollFetches(t.Context()).Records()
	if len(records) != 1 || string(records[0].Value) != "42" {
		t.Errorf("received %v", records)
	}
}

func TestATakenPortIsSaid(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Start(t.Context(), Config{Dir: t.TempDir(), Jars: jars(t), Port: l.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("the error is %v", err)
	}
}

func TestJarsAreFoundFromBelow(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(jarsVariable, "")
	below := filepath.Join(root, "a", "b")
	for _, dir := range []string{below, filepath.Join(root, jarsDir)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(below)
	if _, err := FindJars(); !errors.Is(err, ErrMissing) {
		t.Errorf("an empty directory gives %v, want ErrMissing", err)
	}
	if err := os.WriteFile(filepath.Join(root, jarsDir, "kafka_2.13-4.4.0.jar"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if dir, err := FindJars(); err != nil || dir != filepath.Join(root, jarsDir) {
		t.Errorf("found %s (%v)", dir, err)
	}
}
