package chaos

import (
	"context"
	"fmt"
	"strings"
)

// someStatements fail where the database itself refuses them, of a hundred: more than one in ten, and each batch has one.
const someStatements = 15

// refusal is an error of the database's own making.
type refusal struct {
	fault, what string
	// state is the SQLSTATE of the error.
	state string
	// tables are those of which some changes fail with it.
	tables []string
}

var refusals = []refusal{
	{"serialization-failures", "some row changes fail with 40001, which the transaction does not survive", "40001", []string{"orders.orders", "payments.payments", "inventory.reservations"}},
	{"deadlock-errors", "some row changes fail with 40P01, as the victim of a deadlock does", "40P01", []string{"orders.orders", "shipping.shipments", "notification.orders"}},
	{"out-of-memory", "some row changes fail with 53200, as where a resource is short", "53200", []string{"orders.orders", "inventory.reservations", "millrace.outbox"}},
	{"provider-errors", "the provider answers some calls with an error", "XX000", []string{"provider.accounts"}},
}

func refusalFaults() (list []Fault) {
	for _, r := range refusals {
		list = append(list, Fault{Name: r.fault, What: r.what, Heals: "no more errors", On: onDatabase, Shortest: shortestTrouble, Longest: longestTrouble, inject: r.inject})
	}
	return list
}

// prepareRefusals makes the triggers that raise the errors, once and before there is load: to make or drop one takes a
// lock on its table, for which it waits behind whoever else a fault has made idle, and everybody else behind it. A
// trigger that finds nothing in chaos.refusing does nothing. Sequences count, since they are not rolled back: the seed says
// which changes fail, by their number since the fault began, and the machine whose they are.
func (d *database) prepareRefusals(ctx context.Context) error {
	var b strings.Builder
	fmt.Fprintf(&b, `CREATE SCHEMA chaos; GRANT USAGE ON SCHEMA chaos TO %s;
CREATE TABLE chaos.refusing (fault text PRIMARY KEY, seed bigint NOT NULL, since bigint NOT NULL);
CREATE SEQUENCE chaos.changes;
CREATE SEQUENCE chaos.refusals;
CREATE FUNCTION chaos.refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	active chaos.refusing;
BEGIN
	SELECT * INTO active FROM chaos.refusing WHERE fault = TG_ARGV[0];
	IF FOUND AND abs(hashint8extended(nextval('chaos.changes') - active.since, active.seed) %% 100) < %d THEN
		PERFORM nextval('chaos.refusals');
		RAISE EXCEPTION 'refused on purpose' USING ERRCODE = TG_ARGV[1];
	END IF;
	RETURN NULL;
END $$;
`, role, someStatements)
	for _, r := range refusals {
		for _, table := range r.tables {
			fmt.Fprintf(&b, "CREATE TRIGGER \"%s\" BEFORE INSERT OR UPDATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION chaos.refuse('%[1]s', '%[3]s');\n", r.fault, table, r.state)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, sqlPatience)
	defer cancel()
	if _, err := d.admin.ExecContext(ctx, b.String()); err != nil {
		return fmt.Errorf("make the triggers that refuse changes: %w", err)
	}
	return nil
}

func (r refusal) inject(ctx context.Context, i *injection) (heal, error) {
	ctx, cancel := context.WithTimeout(ctx, sqlPatience)
	defer cancel()
	before, err := i.database.refused(ctx)
	if err == nil {
		_, err = i.database.admin.ExecContext(ctx, "INSERT INTO chaos.refusing SELECT $1, $2, last_value FROM chaos.changes", r.fault, i.random.Int64())
	}
	return func(ctx context.Context) (int64, error) {
		ctx, cancel := context.WithTimeout(ctx, sqlPatience)
		defer cancel()
		if _, err := i.database.admin.ExecContext(ctx, "DELETE FROM chaos.refusing WHERE fault = $1", r.fault); err != nil {
			return 0, err
		}
		after, err := i.database.refused(ctx)
		return after - before, err
	}, err
}

// refused is how many changes were refused so far.
func (d *database) refused(ctx context.Context) (n int64, err error) {
	err = d.admin.QueryRowContext(ctx, "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM chaos.refusals").Scan(&n)
	return n, err
}
