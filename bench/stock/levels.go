package stock

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/lib/pq"

	"millrace/event"
	"millrace/handlers/inventory"
)

// reservations keeps inventory's rows, and the stock they share: the SKUs of an order are locked
// in one order, after its row, so that two orders cannot wait for each other in a circle.
type reservations struct{ *rows[inventory.Reservation] }

var _ inventory.Reservations = reservations{}

func inventoryRows() reservations {
	return reservations{&rows[inventory.Reservation]{
		service: "inventory", table: "inventory.reservations",
		empty: func(id event.OrderID) inventory.Reservation { return inventory.Reservation{ID: id} },
	}}
}

const (
	lockStock = `SELECT sku, name, initial, restocked, available, reserved, sold, version FROM inventory.stock
WHERE sku = ANY($1) ORDER BY sku FOR UPDATE`
	insertStock = `INSERT INTO inventory.stock (sku) VALUES ($1) ON CONFLICT DO NOTHING`
	updateStock = `UPDATE inventory.stock SET name = $2, initial = $3, restocked = $4, available = $5, reserved = $6, sold = $7, version = $8
WHERE sku = $1`
)

// Update is the domain's.
func (r reservations) Update(ctx context.Context, id event.OrderID, keys func(*inventory.Reservation) []string,
	change func(*inventory.Reservation, map[string]*inventory.Level) ([]event.Event, error)) error {
	return r.update(ctx, id, mode{}, func(ctx context.Context, tx *transaction, row *inventory.Reservation) ([]event.Event, error) {
		stock, err := lockLevels(ctx, tx, keys(row))
		if err != nil {
			return nil, err
		}
		before := versions(stock)
		said, err := change(row, stock)
		if err != nil {
			return nil, err
		}
		return said, writeLevels(ctx, tx, stock, before)
	})
}

// UpdateSide is the domain's.
func (r reservations) UpdateSide(ctx context.Context, skus []string, change func(map[string]*inventory.Level) error) error {
	tx, err := r.db.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	result, err := tx.ExecContext(ctx, insertProcessed, r.service, event.CauseFrom(ctx).ID)
	if err != nil {
		return fmt.Errorf("note a change of stock as processed: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	for _, sku := range slices.Sorted(slices.Values(skus)) {
		if _, err := tx.ExecContext(ctx, insertStock, sku); err != nil {
			return fmt.Errorf("create SKU %s: %w", sku, err)
		}
	}
	stock, err := lockLevels(ctx, tx, skus)
	if err != nil {
		return err
	}
	before := versions(stock)
	if err := change(stock); err != nil {
		return err
	}
	if err := writeLevels(ctx, tx, stock, before); err != nil {
		return err
	}
	return tx.Commit()
}

func lockLevels(ctx context.Context, tx *transaction, skus []string) (map[string]*inventory.Level, error) {
	stock := map[string]*inventory.Level{}
	if len(skus) == 0 {
		return stock, nil
	}
	found, err := tx.QueryContext(ctx, lockStock, pq.Array(skus))
	if err != nil {
		return nil, fmt.Errorf("lock the stock of %v: %w", skus, err)
	}
	defer found.Close()
	for found.Next() {
		var l inventory.Level
		if err := found.Scan(&l.SKU, &l.Name, &l.Initial, &l.Restocked, &l.Available, &l.Reserved, &l.Sold, &l.Version); err != nil {
			return nil, fmt.Errorf("read the stock of %v: %w", skus, err)
		}
		stock[l.SKU] = &l
	}
	return stock, found.Err()
}

func versions(stock map[string]*inventory.Level) map[string]int64 {
	before := make(map[string]int64, len(stock))
	for sku, l := range stock {
		before[sku] = l.Version
	}
	return before
}

// writeLevels writes the levels that have changed.
func writeLevels(ctx context.Context, tx *transaction, stock map[string]*inventory.Level, before map[string]int64) error {
	for _, sku := range slices.Sorted(maps.Keys(stock)) {
		l := stock[sku]
		if l.Version == before[sku] {
			continue
		}
		if _, err := tx.ExecContext(ctx, updateStock, l.SKU, l.Name, l.Initial, l.Restocked, l.Available, l.Reserved, l.Sold, l.Version); err != nil {
			return fmt.Errorf("write the stock of %s: %w", sku, err)
		}
	}
	return nil
}
