"""The launcher behind `make run`: it starts the local stack in order, supervises its processes and stops them.

It calls the library (`include`), and is not part of it. It uses Airflow by its commands and its REST API, and the
service by HTTP; it imports neither.

`launch` reads from top to bottom: what is started (`stack`), for which purpose (`main_scenario`, `distributed`), in
which order (`steps`), and how it is kept running (`supervisor`, `restart_policy`).
"""
