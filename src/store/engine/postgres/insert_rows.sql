-- Inserts rows of one account: $1 the rows, $2 generation, $3 run, $4 account, $5 the first change number, counted from the last
-- one that the transaction has taken, $6 whether this commit ends the walk (1 or 0).
INSERT INTO ts_transactions (generation, changed_run, first_seen_run, account, first_walk, change_seq, transaction_id,
    status, amount, currency, booked_date, value_date, transaction_date, booked_at, description, description_original,
    description_detailed, merchant_name, merchant_category_code, category_id, type, reference,
    provider_transaction_id, mutability, payer_name, payee_name)
SELECT $2::bigint, $3::bigint, $3::bigint, $4::bigint,
    CASE $6::bigint WHEN 0 THEN (SELECT walks + 1 FROM ts_accounts WHERE key = $4::bigint) ELSE 0 END,
    (SELECT tink_sync.ts_taken()) + $5::bigint + r.place - 1, r.transaction_id, r.status, r.amount, r.currency, r.booked_date,
    r.value_date, r.transaction_date, r.booked_at, r.description, r.description_original, r.description_detailed,
    r.merchant_name, r.merchant_category_code, r.category_id, r.type, r.reference, r.provider_transaction_id,
    r.mutability, r.payer_name, r.payee_name
FROM unnest($1::tink_sync.ts_row[]) WITH ORDINALITY
    AS r (key, transaction_id, status, amount, currency, booked_date, value_date, transaction_date, booked_at, description,
          description_original, description_detailed, merchant_name, merchant_category_code, category_id, type, reference,
          provider_transaction_id, mutability, payer_name, payee_name, place)
