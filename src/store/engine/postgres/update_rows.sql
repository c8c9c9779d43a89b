-- Rows by their keys in one statement: $1 to $19 are columns, $20 the keys, one element for each row. For the numbers see
-- insert_rows.sql.
UPDATE ts_transactions t SET generation = $21::bigint, changed_run = $22::bigint,
    change_seq = tink_sync.ts_taken() + $23::bigint + r.place - 1, status = r.c1, amount = r.c2, currency = r.c3, booked_date = r.c4,
    value_date = r.c5, transaction_date = r.c6, booked_at = r.c7, description = r.c8, description_original = r.c9,
    description_detailed = r.c10, merchant_name = r.c11, merchant_category_code = r.c12, category_id = r.c13,
    type = r.c14, reference = r.c15, provider_transaction_id = r.c16, mutability = r.c17, payer_name = r.c18,
    payee_name = r.c19, missed = 0, removed_at = NULL, removed_reason = NULL, replaced_by = NULL, match_rule = NULL
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
    $18::text[], $19::text[], $20::bigint[]) WITH ORDINALITY
    AS r (c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, key, place)
WHERE t.key = r.key
