"""Rows: from files, databases, the prediction log and synthetic truths, as one table in time order.

`windows.load_dataset` loads and checks the source of the settings, `windows.split_at_window` says
what is known when a window ends, `streamed.open_stream` opens what memory does not hold, which an
executor (`engine.open_executor`) counts. `columns.find_features` gives each column its kind;
`targets.parse_target` and `timestamps.parse_timestamps` read the two columns with a role;
`files.read_files`, `databases.read_database`, `flights.load_flights`, `synthetic.make_scenario`
make tables.
"""
