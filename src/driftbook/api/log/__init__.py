"""The writing side of the prediction log.

`rows.insert_predictions` and `rows.insert_feedback` write within a transaction,
`writer.LogWriter` groups the requests of a server into few of them.
`retention.delete_old_predictions` forgets what is past its limits, and
`ids.new_prediction_id` makes ids that sort by time.
"""
