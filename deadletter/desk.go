package deadletter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"millrace/outbox"
)

// Desk is where somebody decides what becomes of letters, in one database. Every decision is a step of the
// letter, with the name of who took it and the reason. It needs no running router; those that run
// carry out what was decided.
type Desk struct {
	db    *sql.DB
	marks map[string]*outbox.Marks
	who   string
}

// NewDesk returns a desk for the letters of the services that marks names, at which who decides.
func NewDesk(db *sql.DB, marks map[string]*outbox.Marks, who string) *Desk {
	return &Desk{db: db, marks: marks, who: who}
}

// ErrNoLetter is the error for an id that no letter has.
var ErrNoLetter = errors.New("there is no such letter")

// StatusError says that a letter is not what it would have to be.
type StatusError struct {
	ID     string
	Status Status
	Wanted string // what it would have to be
}

// Error names the letter, what it is, and what it would have to be.
func (e *StatusError) Error() string {
	return fmt.Sprintf("letter %s is %s; that can be done only to one that is %s", e.ID, e.Status, e.Wanted)
}

func (d *Desk) letter(ctx context.Context, q querier, id string) (*Letter, error) {
	list, err := letters(ctx, q, "id = $1", id)
	if err != nil {
		return nil, fmt.Errorf("letter %s: %w", id, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("letter %s: %w", id, ErrNoLetter)
	}
	return list[0], nil
}

// shortestID is how much of an id has to be typed.
const shortestID = 6

// Find returns the letter with that id, or the only one whose id begins so.
func (d *Desk) Find(ctx context.Context, id string) (*Letter, error) {
	id = strings.ToLower(id)
	if len(id) < shortestID || strings.Trim(id, "0123456789abcdef-") != "" {
		return nil, fmt.Errorf("letter %q: an id is hexadecimal, and at least its first %d digits are needed", id, shortestID)
	}
	const first, last = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
	lowest, highest := id+first[min(len(id), len(first)):], id+last[min(len(id), len(last)):]
	if uuid.Validate(lowest) != nil || len(lowest) != len(first) { // no id begins so
		return nil, fmt.Errorf("letter %s: %w", id, ErrNoLetter)
	}
	list, err := letters(ctx, d.db, "id BETWEEN $1::uuid AND $2::uuid AND "+listed+" LIMIT 2", lowest, highest)
	switch {
	case err != nil:
		return nil, fmt.Errorf("letter %s: %w", id, err)
	case len(list) == 0:
		return nil, fmt.Errorf("letter %s: %w", id, ErrNoLetter)
	case len(list) > 1:
		return nil, fmt.Errorf("letter %s: several begin like that, %s and %s for instance: type more of it", id, list[0].ID, list[1].ID)
	}
	return list[0], nil
}

// letters are those of a condition, which may end with an order and a limit.
func letters(ctx context.Context, q querier, condition string, args ...any) (list []*Letter, err error) {
	rows, err := q.QueryContext(ctx, "SELECT "+letterColumns+" FROM deadletter.letters WHERE "+condition, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		l, err := scanLetter(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, rows.Err()
}

// Services are those whose letters can be decided about here.
func (d *Desk) Services() []string {
	var names []string
	for name := range d.marks {
		names = append(names, name)
	}
	return slices.Sorted(slices.Values(names))
}
