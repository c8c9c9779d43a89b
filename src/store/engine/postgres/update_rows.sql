-- Updates rows by their keys: $1 are the rows, $2 and $3 the values common to all, and numbers start at $4 as
-- in insert_rows.sql.
UPDATE ts_transactions t SET generation = $2::bigint, changed_run = $3::bigint,
    change_seq = (SELECT tink_sync.ts_taken()) + $4::bigint + r.place - 1, status = r.status, amount = r.amount,
    currency = r.currency, booked_date = r.booked_date, value_date = r.value_date, transaction_date = r.transaction_date,
    booked_at = r.booked_at, description = r.description, description_original = r.description_original,
    description_detailed = r.description_detailed, merchant_name = r.merchant_name,
    merchant_category_code = r.merchant_category_code, category_id = r.category_id, type = r.type,
    reference = r.reference, provider_transaction_id = r.provider_transaction_id, mutability = r.mutability,
    payer_name = r.payer_name, payee_name = r.payee_name,
    missed = 0, removed_at = NULL, removed_reason = NULL, replaced_by = NULL, match_rule = NULL
FROM unnest($1::tink_sync.ts_row[]) WITH ORDINALITY
    AS r (key, transaction_id, status, amount, currency, booked_date, value_date, transaction_date, booked_at, description,
          description_original, description_detailed, merchant_name, merchant_category_code, category_id, type, reference,
          provider_transaction_id, mutability, payer_name, payee_name, place)
WHERE t.key = r.key
