package verify

import "fmt"

// The invariants, as DESIGN numbers them; H is the history, which it promises in its prose.
const (
	i1  = "I1"
	i2  = "I2"
	i3  = "I3"
	i4  = "I4"
	i5  = "I5"
	i6  = "I6"
	i7  = "I7"
	i8  = "I8"
	i9  = "I9"
	i10 = "I10"
	i11 = "I11"
	i12 = "I12"
	i13 = "I13"
	i14 = "I14"
	ih  = "H"
)

// Violation is something that must not be.
type Violation struct {
	Invariant string `json:"invariant"`
	// Order is whose; empty where it is nobody's alone.
	Order string `json:"order,omitempty"`
	// Reason says what is wrong.
	Reason string `json:"reason"`
	// Records are the places to look at: topic/partition@offset, outbox rows, letters.
	Records []string `json:"records,omitempty"`
}

// Listed is an order that goes on for longer than it should, or cannot go on, and why.
type Listed struct {
	Order   string   `json:"order"`
	Status  string   `json:"status"`
	Reasons []string `json:"reasons"`
}

// findings are what the checks found.
type findings struct {
	most  int // examples that are kept of each invariant, and orders that are listed
	by    map[string]*finding
	list  []Listed
	lists int64
	count Counts
}

// finding is what was found about one invariant.
type finding struct {
	checked, violations int64
	// passing are those of the violations that may pass by themselves.
	passing int64
	// skipped could not be checked, because what it would have to be compared with is gone.
	skipped int64
	// exempt was not judged, because others than the services had a word in it.
	exempt   int64
	examples []Violation
}

// Counts are what the report says of what it looked at.
type Counts struct {
	Orders     int64 `json:"orders"`     // that were placed
	Records    int64 `json:"records"`    // in the log
	Duplicates int64 `json:"duplicates"` // of them
	Foreign    int64 `json:"foreign"`    // without ce_orderversion: not ours
	Later      int64 `json:"later"`      // said after the databases were read
	Unheard    int64 `json:"unheard"`    // not yet processed by some service, and not said to be
	Letters    int64 `json:"letters"`    // open ones
	Parked     int64 `json:"parked"`     // messages that wait behind them
	Outbox     int64 `json:"outbox"`     // events that wait to be published
}

func newFindings(most int) *findings { return &findings{most: most, by: map[string]*finding{}} }

func (f *findings) of(invariant string) *finding {
	if f.by[invariant] == nil {
		f.by[invariant] = &finding{}
	}
	return f.by[invariant]
}

// checked counts n things that were looked at.
func (f *findings) checked(invariant string, n int64) { f.of(invariant).checked += n }

// skipped counts n things that could not be.
func (f *findings) skipped(invariant string, n int64) { f.of(invariant).skipped += n }

// exempt counts one that is not judged.
func (f *findings) exempt(invariant string) { f.of(invariant).exempt++ }

// wrong notes a violation of an order.
func (f *findings) wrong(invariant string, o *order, records []string, format string, args ...any) {
	of := ""
	if o != nil {
		of = o.ID.String()
	}
	on := f.of(invariant)
	on.violations++
	if len(on.examples) < f.most {
		on.examples = append(on.examples, Violation{invariant, of, fmt.Sprintf(format, args...), records})
	}
}

// passing notes a violation that will be none any more when a system that stood still has caught up.
func (f *findings) passing(invariant string, o *order, records []string, format string, args ...any) {
	f.of(invariant).passing++
	f.wrong(invariant, o, records, format, args...)
}

// listed notes an order that has a reason not to have ended.
func (f *findings) listed(o *order, status string, reasons []string) {
	if f.lists++; len(f.list) < f.most {
		f.list = append(f.list, Listed{o.ID.String(), status, reasons})
	}
}

// places are where the records lie.
func places(list ...*record) []string {
	names := make([]string, len(list))
	for i, r := range list {
		names[i] = r.where()
	}
	return names
}
