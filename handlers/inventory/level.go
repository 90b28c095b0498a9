package inventory

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"
)

const (
	// MaxPieces is the most pieces of one SKU: the largest integer that JSON readers
	// in every language hold exactly, and far from where sums overflow.
	MaxPieces = 1<<53 - 1
	// MaxSKU is how many characters a SKU may have; it is what orders accept.
	MaxSKU = 64
	// MaxName is how many characters an article's name may have, as all names do.
	MaxName = 200
)

// Level is the stock of one SKU. Initial + Restocked = Available + Reserved + Sold,
// always, and none of the last three is ever negative. Restocked may be: pieces
// can be taken off the shelf. Version counts changes; 0 has never existed.
type Level struct {
	SKU       string `json:"sku"`
	Name      string `json:"name"`
	Initial   int64  `json:"initial"`
	Restocked int64  `json:"restocked"`
	Available int64  `json:"available"`
	Reserved  int64  `json:"reserved"`
	Sold      int64  `json:"sold"`
	Version   int64  `json:"version"`
}

func (l *Level) reserve(n int64) error  { return l.move(&l.Available, &l.Reserved, n) }
func (l *Level) release(n int64) error  { return l.move(&l.Reserved, &l.Available, n) }
func (l *Level) sell(n int64) error     { return l.move(&l.Reserved, &l.Sold, n) }
func (l *Level) takeBack(n int64) error { return l.move(&l.Sold, &l.Available, n) }

// move keeps the sum; a move that would leave less than nothing is a fault of ours.
func (l *Level) move(from, to *int64, n int64) error {
	if n <= 0 || *from < n {
		return fmt.Errorf("SKU %s (available %d, reserved %d, sold %d): %d pieces cannot be moved",
			l.SKU, l.Available, l.Reserved, l.Sold, n)
	}
	*from -= n
	*to += n
	l.Version++
	return nil
}

// What a restock is refused for.
var (
	// ErrNotAvailable: more would be taken off the shelf than is available.
	ErrNotAvailable = errors.New("not that many pieces are available")
	// ErrTooMany: the SKU would have more than MaxPieces.
	ErrTooMany = errors.New("too many pieces")
	// ErrBadSKU: not a SKU.
	ErrBadSKU = fmt.Errorf("a SKU has 1 to %d printable ASCII characters and no spaces", MaxSKU)
	// ErrBadName: not a name.
	ErrBadName = fmt.Errorf("a name has at most %d characters, all UTF-8 and none of them a control character", MaxName)
)

// Restock adds pieces to a SKU's level, or takes available ones away when add is
// negative. A SKU that does not exist is created, and add is its Initial. An empty
// name leaves the name as it is. The same cause twice restocks once. Errors: one
// of those above, with the numbers, and what the store says.
func (s *Service) Restock(ctx context.Context, sku, name string, add int64) error {
	if err := CheckSKU(sku); err != nil {
		return err
	}
	if err := checkName(name); err != nil {
		return err
	}
	return s.reservations.UpdateSide(ctx, []string{sku}, func(stock map[string]*Level) error {
		level := stock[sku]
		if level == nil {
			return fmt.Errorf("the store did not create SKU %s", sku)
		}
		return level.restock(name, add)
	})
}

func (l *Level) restock(name string, add int64) error {
	switch {
	case add < -l.Available:
		return fmt.Errorf("SKU %s: add %d pieces to %d available ones: %w", l.SKU, add, l.Available, ErrNotAvailable)
	case add > MaxPieces-l.Available-l.Reserved-l.Sold:
		return fmt.Errorf("SKU %s: add %d pieces to %d, at most %d: %w",
			l.SKU, add, l.Available+l.Reserved+l.Sold, int64(MaxPieces), ErrTooMany)
	}
	if l.Version == 0 {
		l.Initial = add
	} else {
		l.Restocked += add
	}
	l.Available += add
	if name != "" {
		l.Name = name
	}
	l.Version++
	return nil
}

// CheckSKU returns ErrBadSKU for what cannot be a SKU.
func CheckSKU(sku string) error {
	if sku == "" || len(sku) > MaxSKU {
		return ErrBadSKU
	}
	for i := range len(sku) {
		if sku[i] <= ' ' || sku[i] > '~' {
			return ErrBadSKU
		}
	}
	return nil
}

func checkName(name string) error {
	if utf8.RuneCountInString(name) > MaxName || !utf8.ValidString(name) {
		return ErrBadName
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f {
			return ErrBadName
		}
	}
	return nil
}
