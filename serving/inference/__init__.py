"""The models a service holds, on what they run, and how requests reach them one by one or in batches."""
