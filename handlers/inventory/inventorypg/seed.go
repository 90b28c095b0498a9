package inventorypg

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// seedPieces is how many pieces of each article an empty catalogue begins with:
// more than any demo or measurement sells.
const seedPieces = 1_000_000

// catalogue is what the shop sells when nobody said otherwise.
var catalogue = []struct{ sku, name string }{
	{"MUG-RED", "Mug, red"},
	{"MUG-BLUE", "Mug, blue"},
	{"MUG-GREEN", "Mug, green"},
	{"MUG-WHITE", "Mug, white"},
	{"PLATE-SMALL", "Plate, small"},
	{"PLATE-LARGE", "Plate, large"},
	{"BOWL-OAK", "Bowl, oak"},
	{"BOWL-CLAY", "Bowl, clay"},
	{"TEAPOT-IRON", "Teapot, cast iron"},
	{"TEAPOT-GLASS", "Teapot, glass"},
	{"KETTLE-STEEL", "Kettle, steel"},
	{"SPOON-WOOD", "Spoon, wood"},
	{"KNIFE-BREAD", "Bread knife"},
	{"BOARD-BEECH", "Board, beech"},
	{"APRON-LINEN", "Apron, linen"},
	{"TOWEL-STRIPED", "Towel, striped"},
	{"JAR-HONEY", "Honey jar"},
	{"FLOUR-RYE", "Rye flour, 1 kg"},
	{"FLOUR-SPELT", "Spelt flour, 1 kg"},
	{"GRINDER-PEPPER", "Pepper grinder"},
}

// Seed fills an empty catalogue and returns how many SKUs it added; where there is
// any SKU it adds none. Two processes may do it at once.
func Seed(ctx context.Context, db *sql.DB) (int, error) {
	skus, names := make([]string, len(catalogue)), make([]string, len(catalogue))
	for i, article := range catalogue {
		skus[i], names[i] = article.sku, article.name
	}
	// In the order of the key, as everyone inserts, so that two processes cannot deadlock.
	result, err := db.ExecContext(ctx, `INSERT INTO inventory.stock (sku, name, initial, available, version)
SELECT sku, name, $3, $3, 1 FROM unnest($1::text[], $2::text[]) AS c(sku, name)
WHERE NOT EXISTS (SELECT FROM inventory.stock WHERE version > 0)
ORDER BY sku COLLATE "C" ON CONFLICT DO NOTHING`, pq.Array(skus), pq.Array(names), int64(seedPieces))
	if err != nil {
		return 0, fmt.Errorf("seed inventory.stock: %w", err)
	}
	added, err := result.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("seed inventory.stock: %w", err)
	}
	return int(added), nil
}
