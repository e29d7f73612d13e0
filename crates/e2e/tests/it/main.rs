//! One binary for all behaviour tests; a module per command, named as the command is.

mod archive_hostile;
mod container_attach;
mod container_cp;
mod container_create;
mod container_events;
mod container_exec;
mod container_logs;
mod container_ls;
mod container_manage;
mod container_run;
mod container_start;
mod container_stop;
mod container_streams;
mod fault;
mod fault_damage;
mod fault_disk;
mod fault_kill;
mod fault_monitor;
mod fault_race;
mod fault_rights;
mod image_commit;
mod image_import;
mod image_load;
mod image_ls;
mod image_save;
mod peers;
