package chaos_test

import (
	"bytes"
	"os"
	"testing"

	"millrace/chaos"
	"millrace/embedded"
)

func TestMain(m *testing.M) {
	embedded.RunFetchChildIfAsked()
	m.Run()
}

// Half a minute of chaos in every test run: the usual faults, one of each, and verify's word on what is left.
func TestQuick(t *testing.T) {
	none := chaos.NoRaces(t.Context())
	if none != nil {
		t.Logf("races are not looked for: %v", none)
	}
	programs, err := chaos.Build(t.Context(), t.TempDir(), "", none == nil)
	if err != nil {
		t.Fatal(err)
	}
	const seed = 1
	var out bytes.Buffer
	result, err := chaos.Run(t.Context(), chaos.Config{Scenario: chaos.Quick(), Seed: seed, Kafka: chaos.EmbeddedKafka, Programs: programs, Dir: directory(t), Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	if !result.OK {
		t.Errorf("it went wrong; the evidence is in %s", result.Evidence)
	}
	if !result.OK || testing.Verbose() {
		t.Log("\n" + out.String())
	}
}

// directory is one that the user that Postgres runs as gets into, and that stays if the test fails.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "millrace-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) }) // only an empty one goes
	return dir
}
