-- Rows of one account in one statement: $1 to $19 are columns, $20 the ids, one element for each row. Their numbers are
-- counted from the last one that the transaction has taken.
INSERT INTO ts_transactions (generation, changed_run, first_seen_run, account, first_walk, change_seq, transaction_id,
    status, amount, currency, booked_date, value_date, transaction_date, booked_at, description, description_original,
    description_detailed, merchant_name, merchant_category_code, category_id, type, reference,
    provider_transaction_id, mutability, payer_name, payee_name)
SELECT $21::bigint, $22::bigint, $22::bigint, $23::bigint, (SELECT walks + 1 FROM ts_accounts WHERE key = $23::bigint),
    tink_sync.ts_taken() + $24::bigint + r.place - 1, r.id, r.c1, r.c2, r.c3, r.c4, r.c5, r.c6, r.c7, r.c8, r.c9, r.c10, r.c11, r.c12, r.c13,
    r.c14, r.c15, r.c16, r.c17, r.c18, r.c19
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
    $18::text[], $19::text[], $20::text[]) WITH ORDINALITY
    AS r (c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, id, place)
