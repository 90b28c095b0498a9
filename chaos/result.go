package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Result is what came of one run.
type Result struct {
	Scenario string        `json:"scenario"`
	Seed     uint64        `json:"seed"`
	Kafka    Kafka         `json:"kafka"`
	Replicas int           `json:"replicas"`
	Lasted   time.Duration `json:"lasted"` // the load, faults included
	Began    time.Time     `json:"began"`
	// Rate is how many orders were placed a second, Env what settings routers had beside the scenario's.
	Rate float64  `json:"rate,omitempty"`
	Env  []string `json:"env,omitempty"`
	// Of is what was run, Old what every second router was, where that was another one; nil: the result is older than this.
	Of  *Program `json:"of,omitempty"`
	Old *Program `json:"old,omitempty"`
	// OK: what was expected came about.
	OK bool `json:"ok"`
	// Why not, a line each.
	Why []string `json:"why,omitempty"`
	// Expected says what was expected where it is not that nothing is wrong.
	Expected string `json:"expected,omitempty"`

	Accepted int   `json:"accepted"` // orders that clients were told are accepted
	Again    int64 `json:"again"`    // requests that had to be sent again
	Restarts int   `json:"restarts"` // routers that ended by themselves and were started anew
	// Endings say which, when and why.
	Endings []string `json:"endings,omitempty"`
	// NotDone are faults of the scenario that did not come, with the reason; NeverFelt are those that came and met nothing.
	NotDone   []string `json:"notDone,omitempty"`
	NeverFelt []string `json:"neverFelt,omitempty"`
	Verdict   *Verdict `json:"verdict,omitempty"`
	Faults    []Broken `json:"faults"`
	// Standstill is the longest time in which no order got on at the order service, Rest how long after the last fault all was at rest.
	Standstill time.Duration `json:"standstill"`
	Rest       time.Duration `json:"rest"`
	// Evidence is the directory with everything; empty when nothing was wrong.
	Evidence string `json:"evidence,omitempty"`
}

// Broken is a fault that came.
type Broken struct {
	Fault   string        `json:"fault"`
	Replica int           `json:"replica"`
	At      time.Duration `json:"at"`     // from the start of the load
	Healed  time.Duration `json:"healed"` // likewise
	Hits    int64         `json:"hits"`   // how often it was felt
	// Recovery is from its healing to the first progress of the service that took longest, of those that got on at all;
	// in results without Of, of the order service. -1: there was none any more.
	Recovery time.Duration `json:"recovery"`
}

// AddResult adds a line to a file of results, which is made if it is missing.
func AddResult(path string, r Result) error {
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	var line []byte
	if err == nil {
		line, err = json.Marshal(r)
	}
	var file *os.File
	if err == nil {
		file, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	}
	if err == nil {
		_, err = file.Write(append(line, '\n'))
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return fmt.Errorf("keep a result: %w", err)
	}
	return nil
}

// ReadResults reads such a file.
func ReadResults(path string) (list []Result, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	defer file.Close()
	for lines := json.NewDecoder(file); ; {
		var r Result
		switch err := lines.Decode(&r); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, fmt.Errorf("read results from %s: %w", path, err)
		}
		list = append(list, r)
	}
}
