package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// MarshalJSON writes a figure as {"name","ours","theirs","ratio","worstPair","goal","unit","reached","note"};
// null is a number that there is not.
func (f Figure) MarshalJSON() ([]byte, error) {
	optional := func(v float64) *float64 {
		if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return &v
	}
	ours := &f.Ours
	if math.IsNaN(f.Ours) || math.IsInf(f.Ours, 0) {
		ours = nil
	}
	return json.Marshal(struct {
		Name      string   `json:"name"`
		Ours      *float64 `json:"ours"`
		Theirs    *float64 `json:"theirs"`
		Ratio     *float64 `json:"ratio"`
		WorstPair *float64 `json:"worstPair"`
		Goal      string   `json:"goal"`
		Unit      string   `json:"unit"`
		Reached   bool     `json:"reached"`
		Note      string   `json:"note,omitempty"`
	}{f.Name, ours, optional(f.Theirs), optional(f.Ratio), optional(f.WorstPair), f.Goal, f.Unit, f.Reached, f.Note})
}

// WriteJSON writes {"figures":[…]}, for scripts.
func WriteJSON(w io.Writer, figures []Figure) error {
	if figures == nil {
		figures = []Figure{}
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string][]Figure{"figures": figures})
}

// WriteTable writes the figures for people.
func WriteTable(w io.Writer, figures []Figure) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tOURS\tTHEIRS\tUNIT\tRATIO\tWORST PAIR\tGOAL\tREACHED\tNOTE")
	for _, f := range figures {
		fmt.Fprintln(t, strings.Join([]string{f.Name, number(f.Ours), optional(f.Theirs), f.Unit, times(f.Ratio), times(f.WorstPair), f.Goal, reached(f), f.Note}, "\t"))
	}
	return t.Flush()
}

// reached says whether a goal is; nothing where there is none.
func reached(f Figure) string {
	switch {
	case f.Goal == "":
		return ""
	case f.Reached:
		return "yes"
	default:
		return "NO"
	}
}

// number is a value with three figures, which is more than the rounds agree on.
func number(v float64) string {
	const integersFrom, oneDigitFrom, grouped = 100, 10, 1000
	switch abs := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case abs >= grouped:
		return group(strconv.FormatFloat(v, 'f', 0, 64))
	case abs >= integersFrom || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case abs >= oneDigitFrom:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}

// group puts a comma between thousands.
func group(digits string) string {
	const size = 3
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - size; i > 0; i -= size {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// optional is a number that may be absent, as 0 or NaN.
func optional(v float64) string {
	if v == 0 || math.IsNaN(v) {
		return ""
	}
	return number(v)
}

func times(v float64) string {
	if v == 0 || math.IsNaN(v) {
		return ""
	}
	return number(v) + "×"
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
