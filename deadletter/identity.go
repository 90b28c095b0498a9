package deadletter

import (
	"context"
	"crypto/sha256"
	"fmt"

	"millrace/outbox"
)

// identity is what tells two messages apart that have one id. Those of one order and topic are one: its row processes an id
// once.
type identity struct {
	order, topic string
	body         [sha256.Size]byte // of a message without an order
}

func identityOf(l *Letter) identity {
	i := identity{order: l.OrderID, topic: l.Topic}
	if l.OrderID == "" {
		i.body = sha256.Sum256(l.Payload)
	}
	return i
}

// knownMessages are letters that lie here already, by id.
type knownMessages map[string]identity

// identities are those of a batch's letters that lie here already, under either id.
func identities(ctx context.Context, q querier, batch []*entry) (knownMessages, error) {
	ids := make(outbox.UUIDArray, 0, 2*len(batch))
	for _, e := range batch {
		ids = append(ids, NewID(e.letter.Group, e.letter.MessageID), e.letter.otherID())
	}
	rows, err := q.QueryContext(ctx, `SELECT id, coalesce(order_id::text, ''), topic, CASE WHEN order_id IS NULL THEN sha256(coalesce(original, payload)) ELSE '' END
FROM deadletter.letters WHERE id = ANY($1::uuid[])`, ids)
	if err != nil {
		return nil, fmt.Errorf("look for letters: %w", err)
	}
	defer rows.Close()
	known := knownMessages{}
	for rows.Next() {
		var id string
		var i identity
		var body []byte
		if err := rows.Scan(&id, &i.order, &i.topic, &body); err != nil {
			return nil, fmt.Errorf("look for letters: %w", err)
		}
		copy(i.body[:], body)
		known[id] = i
	}
	return known, rows.Err()
}

// find tells whether a message lies here already. It gives the letter the other id if another message has the first one.
func (k knownMessages) find(l *Letter) bool {
	l.ID = NewID(l.Group, l.MessageID)
	is, found := k[l.ID]
	if !found || is == identityOf(l) {
		return found
	}
	l.ID = l.otherID()
	_, found = k[l.ID]
	return found
}

// isKnown tells whether a message was put aside before.
func (p *Parking) isKnown(ctx context.Context, l Letter) (bool, error) {
	known, err := identities(ctx, p.db, []*entry{{letter: l}})
	return err == nil && known.find(&l), err
}
