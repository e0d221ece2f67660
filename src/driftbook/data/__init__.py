"""Rows: from files, databases, the prediction log and synthetic truths, as one table in time order.

`windows.load_dataset` loads and checks the source of the settings, `windows.split_at_window` says
what is known when a window ends. `columns.find_features` gives each column its kind;
`targets.find_task_name`, `targets.parse_target` and `timestamps.parse_timestamps` read the two
columns with a role;
`files.read_files`, `databases.read_database`, `flights.load_flights` and
`synthetic.make_scenario` make tables.
"""
