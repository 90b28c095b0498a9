-- +goose Up
-- What a transaction of many updates asks when one of them is refused: which of them, for each by itself, and without a
-- round trip for each. queries are the statements that write an update; calls are their arguments, as many for each update as
-- there are queries, '' where one is not needed. Everything is undone. The result has a row for each update whose data is
-- refused. Any other error, such as a row that somebody else holds, ends it: its row is the last one.
-- +goose StatementBegin
CREATE FUNCTION millrace.refusals(queries text[], calls text[])
RETURNS TABLE (place int, code text, message text, detail text, hint text, schema_name text, table_name text, column_name text, type_name text, constraint_name text)
LANGUAGE plpgsql AS $$
DECLARE
  parts int := cardinality(queries);
  stale text;
BEGIN
  -- What is prepared belongs to the session: if this failed before, it is still there.
  FOR stale IN SELECT p.name FROM pg_prepared_statements p WHERE p.name LIKE 'millrace\_refusals\_%' LOOP
    EXECUTE format('DEALLOCATE %I', stale);
  END LOOP;
  FOR part IN 1..parts LOOP
    EXECUTE format('PREPARE millrace_refusals_%s AS %s', part, queries[part]);
  END LOOP;
  <<updates>> FOR asked IN 0..cardinality(calls) / parts - 1 LOOP
    BEGIN
      FOR part IN 1..parts LOOP
        place := asked * parts + part;
        CONTINUE WHEN calls[place] = '';
        EXECUTE format('EXECUTE millrace_refusals_%s', part) || calls[place];
      END LOOP;
      RAISE EXCEPTION USING ERRCODE = 'MR000';
    EXCEPTION
      WHEN SQLSTATE 'MR000' THEN
        NULL; -- nothing was wrong with it, and it is undone
      WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
          schema_name = SCHEMA_NAME, table_name = TABLE_NAME, column_name = COLUMN_NAME, type_name = PG_DATATYPE_NAME, constraint_name = CONSTRAINT_NAME;
        RETURN NEXT;
        EXIT updates WHEN left(code, 2) NOT IN ('22', '23');
    END;
  END LOOP;
  FOR part IN 1..parts LOOP
    EXECUTE format('DEALLOCATE millrace_refusals_%s', part);
  END LOOP;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION millrace.refusals;
